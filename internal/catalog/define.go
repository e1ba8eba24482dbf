package catalog

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	maxLine      = 200  // characters
	maxParagraph = 4000 // characters
	maxURL       = 2000 // characters
)

var (
	idPattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	linkPattern = regexp.MustCompile(`^https://[^\s/]+(/\S*)?$`)
	hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)
)

// Define reads the definition of a provider and reports problems in the definition's document. The
// returned provider is usable only if the definition has no problems.
func Define(definition yamlfile.Value) *Provider {
	definition.Mapping("id", "display_name", "description", "documentation_url", "allowed_hosts", "auth_methods").
		Requires("id", "display_name", "allowed_hosts", "auth_methods")
	provider := &Provider{
		ID:               readID(definition),
		DisplayName:      definition.Get("display_name").FreeText(1, maxLine),
		Description:      definition.Get("description").FreeText(1, maxParagraph),
		DocumentationURL: readLink(definition),
		AllowedHosts:     ReadHosts(definition.Get("allowed_hosts"), 1),
	}
	ids := yamlfile.Unique{}
	for _, item := range definition.Get("auth_methods").List(1, 20) {
		method := defineMethod(item, provider.AllowedHosts)
		ids.Check(item.Get("id"), method.ID, "auth method")
		provider.AuthMethods = append(provider.AuthMethods, method)
	}
	if text, err := json.Marshal(provider); err == nil { // Marshal cannot fail, because JSON can represent every field
		provider.definition = string(text)
	}
	return provider
}

func readID(item yamlfile.Value) string {
	return item.Get("id").Match(idPattern, "must be 1 to 63 lower-case letters, digits and underscores, and begin with a letter")
}

func readLink(item yamlfile.Value) string {
	link := item.Get("documentation_url")
	_ = link.Text(yamlfile.MaxText) // the method Text reports `${` as a problem
	return link.Match(linkPattern, "must be a link that begins with https://")
}

// ReadHosts reads a list of hosts that must have at least `least` items.
func ReadHosts(list yamlfile.Value, least int) []string {
	const form = "must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"
	var hosts []string
	unique := yamlfile.Unique{}
	for _, item := range list.List(least, 100) {
		host := item.Match(hostPattern, form)
		if host != "" && !validHost(host) {
			item.Problemf(form)
		}
		unique.Check(item, host, "host")
		hosts = append(hosts, host)
	}
	return hosts
}

// validHost checks the rules that a regular expression cannot check: the port must be in range, and
// the host must be a name or an IP address.
func validHost(text string) bool {
	parsed, err := url.Parse("https://" + text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(cmp.Or(parsed.Port(), "0"), 10, 16)
	return err == nil && egress.IsHost(parsed.Hostname())
}

func defineMethod(item yamlfile.Value, allowedHosts []string) *AuthMethod {
	item.Mapping("id", "display_name", "description", "documentation_url", "rejected_statuses", "fields", "token_request",
		"headers", "query_params", "rotation", "verification").Requires("id", "display_name", "fields")
	request := item.Get("token_request")
	method := &AuthMethod{
		ID:               readID(item),
		DisplayName:      item.Get("display_name").FreeText(1, maxLine),
		Description:      item.Get("description").FreeText(1, maxParagraph),
		DocumentationURL: readLink(item),
		RejectedStatuses: readRejectedStatuses(item.Get("rejected_statuses")),
		Fields:           defineFields(item.Get("fields"), request.Exists()),
		Rotation:         readRotation(item.Get("rotation")),
	}
	if verification := item.Get("verification"); verification.Exists() {
		method.Verification = defineVerification(verification, allowedHosts)
	}
	environment, err := newEnvironment(method.Fields, request.Exists())
	if err != nil {
		return method // a problem was already reported
	}
	if request.Exists() {
		method.TokenRequest = defineTokenRequest(request, item.Get("fields"), method)
	}
	method.Headers = definePlacements(item.Get("headers"), environment, true)
	method.QueryParams = definePlacements(item.Get("query_params"), environment, false)
	checkUses(item, method)
	return method
}

func readRejectedStatuses(list yamlfile.Value) []int {
	if !list.Exists() {
		return []int{http.StatusUnauthorized}
	}
	return readStatuses(list, 0, http.StatusBadRequest)
}

// readStatuses reads a list of at least `fewest` HTTP statuses from `lowest` to 599.
func readStatuses(list yamlfile.Value, fewest, lowest int) []int {
	statuses := []int{}
	unique := yamlfile.Unique{}
	for _, item := range list.List(fewest, 20) {
		status := item.Int(lowest, 599, 0)
		unique.Check(item, strconv.Itoa(status), "status")
		statuses = append(statuses, status)
	}
	return statuses
}

func defineFields(list yamlfile.Value, withToken bool) []Field {
	var fields []Field
	ids := yamlfile.Unique{}
	for _, item := range list.List(1, 50) {
		item.Mapping("id", "display_name", "description", "required", "secret").Requires("id", "display_name")
		field := Field{
			ID:          readID(item),
			DisplayName: item.Get("display_name").FreeText(1, maxLine),
			Description: item.Get("description").FreeText(1, maxParagraph),
			Required:    item.Get("required").Bool(false),
			Secret:      item.Get("secret").Bool(false),
		}
		field.SecretStated = item.Get("secret").Exists()
		ids.Check(item.Get("id"), field.ID, "field")
		switch {
		case withToken && field.ID == TokenVariable:
			item.Get("id").Problemf("use another name: in a method with a token_request, %q is the token", TokenVariable)
		case field.ID != "" && !expression.ValidName(field.ID):
			item.Get("id").Problemf("use another name: this name is a reserved word of the expression language")
		}
		fields = append(fields, field)
	}
	return fields
}

// newEnvironment returns the variables that the expressions of an auth method may use, or an error
// if the ID of a field cannot be the name of a variable.
func newEnvironment(fields []Field, withToken bool) (*expression.Environment, error) {
	var variables []expression.Variable
	for _, field := range fields {
		variables = append(variables, expression.Variable{Name: field.ID, Optional: !field.Required})
	}
	if withToken {
		variables = append(variables, expression.Variable{Name: TokenVariable})
	}
	return expression.NewEnvironment(variables...)
}

// No auth method may set these headers, which delimit an HTTP message or name its receiver.
var undecorated = []string{"host", "content-length", "transfer-encoding", "connection"}

func definePlacements(list yamlfile.Value, environment *expression.Environment, areHeaders bool) []Placement {
	var placements []Placement
	names := yamlfile.Unique{}
	isControl := func(char rune) bool { return char < ' ' || char == 0x7f }
	for _, item := range list.List(1, 50) {
		item.Mapping("name", "value").Requires("name", "value")
		value := item.Get("name")
		name := value.Text(maxLine)
		folded := name
		if areHeaders {
			folded = strings.ToLower(name)
		}
		switch {
		case areHeaders && name != "" && !httpguts.ValidHeaderFieldName(name):
			value.Problemf("this is not a name of an HTTP header: use letters, digits and hyphens")
		case areHeaders && slices.Contains(undecorated, folded):
			value.Problemf("the header %s is reserved for HTTP itself: use another header", name)
		case !areHeaders && strings.ContainsFunc(name, isControl):
			value.Problemf("the name of a query parameter must not have control characters")
		}
		names.Check(value, folded, "name")
		placements = append(placements, Placement{Name: name, Value: compile(item.Get("value"), 1, environment)})
	}
	return placements
}

var broken = new(expression.Template)

// compile compiles a text with expressions, and returns `broken` if the text has a problem.
func compile(value yamlfile.Value, least int, environment *expression.Environment) *expression.Template {
	template, problems := environment.Compile(value.FreeText(least, maxParagraph))
	for _, problem := range problems {
		value.ProblemAtf(problem.Offset, "%s", problem.Message)
	}
	if problems != nil {
		return broken
	}
	return template
}

// checkUses reports an auth method that adds nothing to a request, an unused token, and unused
// fields. If an expression has a problem, unused fields are not reported, because the faulty
// expression may be meant to use them.
func checkUses(item yamlfile.Value, method *AuthMethod) {
	places := slices.Concat(method.Headers, method.QueryParams)
	if len(places) == 0 {
		item.Problemf("the method places nothing: add headers or query_params")
		return
	}
	var used []string
	for _, place := range places {
		used = append(used, place.Value.Uses()...)
	}
	if request := method.TokenRequest; request != nil {
		if !slices.Contains(used, TokenVariable) {
			item.Get("token_request").Problemf("the token is never used: no header or query parameter holds ${%s}", TokenVariable)
		}
		used = append(used, ClientIDField, ClientSecretField)
		for _, parameter := range request.Parameters {
			places = append(places, parameter)
			used = append(used, parameter.Value.Uses()...)
		}
	}
	if slices.ContainsFunc(places, func(p Placement) bool { return p.Value == broken }) {
		return
	}
	for i, field := range item.Get("fields").List(1, 50) {
		if id := method.Fields[i].ID; id != "" && !slices.Contains(used, id) {
			field.Get("id").Problemf("this field is never used: use the field in a ${ } of a header, a query parameter or a token request parameter, or remove the field")
		}
	}
}
