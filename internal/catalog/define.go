package catalog

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	maxLine      = 200  // characters
	maxParagraph = 4000 // characters
)

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	linkPattern = regexp.MustCompile(`^https://[^\s/]+(/\S*)?$`)
)

// Define reads the definition of a provider and reports problems in the definition's document. The
// returned provider is usable only if the definition has no problems.
func Define(definition yamlfile.Value) *Provider {
	isInFile := func(section string) bool { return definition.Get(section).Exists() }
	if slices.ContainsFunc([]string{"credentials", "providers", "providers_directory"}, isInFile) {
		definition.Problemf("expected the definition of one provider, and this is a configuration file: a definition is one item of the list 'providers': move each item to a file of its own")
	}
	definition.Mapping("id", "display_name", "description", "documentation_url", "sources", "allowed_hosts", "any_host", "auth_methods").
		Requires("id", "display_name", "allowed_hosts", "auth_methods")
	provider := &Provider{
		ID:               readID(definition),
		DisplayName:      definition.Get("display_name").FreeText(1, maxLine),
		Description:      definition.Get("description").FreeText(1, maxParagraph),
		DocumentationURL: readLink(definition.Get("documentation_url")),
		AnyHost:          definition.Get("any_host").Bool(false),
	}
	for _, source := range definition.Get("sources").List(1, 10) {
		provider.Sources = append(provider.Sources, readLink(source))
	}
	ids := yamlfile.Unique{}
	var definers []*methodDefiner
	for _, item := range definition.Get("auth_methods").List(1, 20) {
		definer := defineMethod(item, provider.AnyHost)
		ids.Check(item.Get("id"), definer.method.ID, "auth method")
		provider.AuthMethods = append(provider.AuthMethods, definer.method)
		definers = append(definers, definer)
	}
	var inHosts *scope
	provider.hosts, inHosts = readProviderHosts(definition.Get("allowed_hosts"), provider.AuthMethods, provider.AnyHost)
	for _, host := range provider.hosts {
		provider.AllowedHosts = append(provider.AllowedHosts, host.template.String())
	}
	for _, definer := range definers {
		definer.finish(provider, inHosts)
	}
	if text, err := json.Marshal(provider); err == nil { // Marshal cannot fail, because JSON can represent every field
		provider.definition = string(text)
	}
	return provider
}

func readID(item yamlfile.Value) string {
	return item.Get("id").Match(idPattern, "must be 1 to 63 lower-case letters, digits, underscores and hyphens, and begin with a letter or digit")
}

func readLink(link yamlfile.Value) string {
	_ = link.Text(yamlfile.MaxText) // the method Text reports `${` as a problem
	return link.Match(linkPattern, "must be a link that begins with https://")
}

// methodDefiner reads the definition of one auth method.
type methodDefiner struct {
	item   yamlfile.Value
	method *AuthMethod
	scope  *scope
}

func defineMethod(item yamlfile.Value, anyHost bool) *methodDefiner {
	item.Mapping("id", "display_name", "description", "documentation_url", "rejected_statuses", "rejected_when", "fields",
		"token_request", "jwt", "headers", "query_params", "rotation", "verification").Requires("id", "display_name", "fields")
	item.Excludes("jwt", "token_request")
	request, jwt := item.Get("token_request"), item.Get("jwt")
	method := &AuthMethod{
		ID:               readID(item),
		DisplayName:      item.Get("display_name").FreeText(1, maxLine),
		Description:      item.Get("description").FreeText(1, maxParagraph),
		DocumentationURL: readLink(item.Get("documentation_url")),
		RejectedStatuses: readRejectedStatuses(item.Get("rejected_statuses")),
		RejectedWhen:     defineRejectedWhen(item.Get("rejected_when")),
		Fields:           defineFields(item.Get("fields"), request.Exists() || jwt.Exists()),
		Rotation:         readRotation(item.Get("rotation")),
	}
	scope := &scope{fields: method.Fields}
	scope.oneLine(ClientIDField, ClientSecretField)
	placed := scope.with()
	switch {
	case request.Exists():
		var variables []string
		method.TokenRequest, variables = defineTokenRequest(request, item.Get("fields"), scope, anyHost)
		method.tokenUses = slices.Compact(slices.Sorted(slices.Values(scope.used)))
		placed = placed.with(append(variables, TokenVariable)...)
	case jwt.Exists():
		method.JWT = defineJWT(jwt, scope)
		method.tokenUses = slices.Compact(slices.Sorted(slices.Values(scope.used)))
		placed = placed.with(JWTVariable)
	}
	method.Headers = definePlacements(item.Get("headers"), placed, true, "only_if_absent")
	method.QueryParams = definePlacements(item.Get("query_params"), placed, false)
	scope.join(placed)
	return &methodDefiner{item, method, scope}
}

// finish reads what depends on the hosts of the provider, and checks what the method uses.
func (d *methodDefiner) finish(provider *Provider, inHosts *scope) {
	if verification := d.item.Get("verification"); verification.Exists() {
		d.method.Verification = defineVerification(verification, d.scope, provider)
	}
	d.scope.join(inHosts)
	d.checkUses()
	d.method.oneLine, d.method.inURLs = d.scope.lines, d.scope.inURLs
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
			ID:          item.Get("id").Match(identifierPattern, identifierForm),
			DisplayName: item.Get("display_name").FreeText(1, maxLine),
			Description: item.Get("description").FreeText(1, maxParagraph),
			Required:    item.Get("required").Bool(false),
			Secret:      item.Get("secret").Bool(false),
		}
		field.SecretStated = item.Get("secret").Exists()
		ids.Check(item.Get("id"), field.ID, "field")
		switch {
		case withToken && (field.ID == TokenVariable || field.ID == JWTVariable || field.ID == responsePrefix):
			item.Get("id").Problemf("use another name: in a method with a token, %q is not a field", field.ID)
		case field.ID != "" && !expression.ValidName(field.ID):
			item.Get("id").Problemf(reservedWord)
		}
		fields = append(fields, field)
	}
	return fields
}

// ReservedHeader reports whether no auth method may set a header, because it delimits an HTTP message
// or names its receiver.
func ReservedHeader(name string) bool {
	return slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection"}, strings.ToLower(name))
}

// definePlacements reads a list of headers or query parameters. An item has a name and a value, and can
// have the other keys.
func definePlacements(list yamlfile.Value, scope *scope, areHeaders bool, otherKeys ...string) []Placement {
	var placements []Placement
	names := yamlfile.Unique{}
	isControl := func(char rune) bool { return char < ' ' || char == 0x7f }
	for _, item := range list.List(1, 50) {
		item.Mapping(append(otherKeys, "name", "value")...).Requires("name", "value")
		value := item.Get("name")
		name := value.Text(maxLine)
		folded := name
		if areHeaders {
			folded = strings.ToLower(name)
		}
		switch {
		case areHeaders && name != "" && !httpguts.ValidHeaderFieldName(name):
			value.Problemf("this is not a name of an HTTP header: use letters, digits and hyphens")
		case areHeaders && ReservedHeader(name):
			value.Problemf("the header %s is reserved for HTTP itself: use another header", name)
		case !areHeaders && strings.ContainsFunc(name, isControl):
			value.Problemf("the name of a query parameter must not have control characters")
		}
		names.Check(value, folded, "name")
		placement := Placement{
			Name: name, Value: scope.compileLine(item.Get("value"), maxParagraph), OnlyIfAbsent: item.Get("only_if_absent").Bool(false),
		}
		checkLiterals(item.Get("value"), placement.Value, areHeaders)
		placements = append(placements, placement)
	}
	return placements
}

// checkLiterals reports text outside of expressions that the value of a header or a query parameter
// cannot have.
func checkLiterals(value yamlfile.Value, template *expression.Template, inHeader bool) {
	isWrong := func(char rune) bool { return unicode.IsControl(char) || inHeader && char > '~' }
	for _, part := range template.Parts() {
		if strings.ContainsFunc(part.Literal, isWrong) {
			value.Problemf("must have no line breaks or other control characters, and in a header only ASCII characters")
			return
		}
	}
}

// isIssued reports whether a variable is a token or another value of the answer to a token request.
func isIssued(name string) bool {
	return name == TokenVariable || strings.HasPrefix(name, responsePrefix+".")
}

// checkUses reports an auth method that adds nothing to a request, an unused token, and unused
// fields. If an expression has a problem, unused fields are not reported, because the faulty
// expression may be meant to use them.
func (d *methodDefiner) checkUses() {
	switch {
	case len(d.method.Headers)+len(d.method.QueryParams) == 0:
		d.item.Problemf("the method places nothing: add headers or query_params")
		return
	case d.scope.broken:
		return
	case d.method.TokenRequest != nil && !slices.ContainsFunc(d.scope.used, isIssued):
		d.item.Get("token_request").Problemf("the token is never used: no header or query parameter holds ${%s}", TokenVariable)
	case d.method.JWT != nil && !d.scope.uses(JWTVariable):
		d.item.Get("jwt").Problemf("the JWT is never used: no header or query parameter holds ${%s}", JWTVariable)
	}
	for i, field := range d.item.Get("fields").List(1, 50) {
		if id := d.method.Fields[i].ID; expression.ValidName(id) && !d.scope.uses(id) {
			field.Get("id").Problemf("this field is never used: use the field in a ${ } of a header, a query parameter, a host or the token request, or remove the field")
		}
	}
}
