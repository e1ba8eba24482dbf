package catalog

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// defaultLifetime is what a token lives when neither the answer nor the definition
// says.
const defaultLifetime = time.Hour

// Define reads a provider from a definition that was held against ProviderSchema.
// What else is wrong with it is reported at its place in the document; the provider
// is usable only when nothing was.
func Define(definition strictyaml.Value) *Provider {
	provider := &Provider{
		ID:               definition.Key("id").Text(),
		DisplayName:      definition.Key("display_name").Text(),
		Description:      definition.Key("description").Text(),
		DocumentationURL: definition.Key("documentation_url").Text(),
		AllowedHosts:     ReadHosts(definition.Key("allowed_hosts")),
	}
	ReportUnevaluated(definition, unchecked...)
	seen := map[string]bool{}
	for _, item := range definition.Key("auth_methods").Items() {
		method := defineMethod(item)
		if reportRepeated(seen, item.Key("id"), "auth method") {
			continue
		}
		provider.AuthMethods = append(provider.AuthMethods, method)
	}
	if text, err := json.Marshal(provider); err == nil { // there is nothing in it that JSON lacks
		provider.definition = string(text)
	}
	return provider
}

// ReadHosts reads a list of hosts, and reports those that stand twice.
func ReadHosts(list strictyaml.Value) []string {
	var hosts []string
	for _, item := range list.Items() {
		switch host := item.Text(); {
		case slices.Contains(hosts, host):
			item.Problemf("the host stands twice")
		case host != "" && !reported(host) && !validHost(host):
			item.Problemf("must be a host name or IP address, with a port from 1 to 65535 if any")
		}
		hosts = append(hosts, item.Text())
	}
	return hosts
}

// reported reports whether the pattern of hosts has found characters that it has no place for.
func reported(host string) bool {
	return strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.:[]") != "" || strings.HasSuffix(host, ".")
}

// validHost checks what a pattern cannot: that the port is one, an address in brackets too,
// and that a number is no name.
func validHost(host string) bool {
	parsed, err := url.Parse("https://" + host)
	if err != nil {
		return false
	}
	if port := parsed.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
	}
	return egress.IsHost(parsed.Hostname())
}

func defineMethod(item strictyaml.Value) *AuthMethod {
	method := &AuthMethod{
		ID:               item.Key("id").Text(),
		DisplayName:      item.Key("display_name").Text(),
		Description:      item.Key("description").Text(),
		DocumentationURL: item.Key("documentation_url").Text(),
		RejectedStatuses: []int{http.StatusUnauthorized},
		Fields:           defineFields(item.Key("fields"), item.Key("token_request").Exists()),
	}
	if statuses := item.Key("rejected_statuses"); statuses.Exists() {
		method.RejectedStatuses = nil
		for _, status := range statuses.Items() {
			number, _ := status.Int()
			method.RejectedStatuses = append(method.RejectedStatuses, number)
		}
	}
	request := item.Key("token_request")
	environment := newEnvironment(method.Fields, request.Exists())
	if environment == nil {
		return method
	}
	if request.Exists() {
		method.TokenRequest = defineTokenRequest(item, method)
	}
	method.Headers = definePlacements(item.Key("headers"), environment, checkHeaderName, strings.ToLower)
	method.QueryParams = definePlacements(item.Key("query_params"), environment, checkParamName, asItIs)
	checkPlacements(item, method)
	checkFieldsUsed(item.Key("fields"), method)
	return method
}

func defineFields(list strictyaml.Value, withToken bool) []Field {
	var fields []Field
	seen := map[string]bool{}
	for _, item := range list.Items() {
		id := item.Key("id")
		if reportRepeated(seen, id, "field") {
			continue
		}
		checkFieldName(id, withToken)
		fields = append(fields, Field{
			ID:          item.Key("id").Text(),
			DisplayName: item.Key("display_name").Text(),
			Description: item.Key("description").Text(),
			Required:    item.Key("required").Bool(),
			Secret:      item.Key("secret").Bool(),
		})
	}
	return fields
}

// checkFieldName reports a name that expressions cannot refer to.
func checkFieldName(id strictyaml.Value, withToken bool) {
	switch name := id.Text(); {
	case name == "":
	case withToken && name == TokenVariable:
		id.Problemf("a token method has no field of the name %q: that is the token", TokenVariable)
	case !expression.ValidName(name):
		id.Problemf("this is a word of the expression language: use another name")
	}
}

// newEnvironment returns the variables that a method's expressions may use, or nil
// when a field cannot be one, which was reported.
func newEnvironment(fields []Field, withToken bool) *expression.Environment {
	var variables []expression.Variable
	for _, field := range fields {
		variables = append(variables, expression.Variable{Name: field.ID, Optional: !field.Required})
	}
	if withToken {
		variables = append(variables, expression.Variable{Name: TokenVariable})
	}
	environment, err := expression.NewEnvironment(variables...)
	if err != nil {
		return nil
	}
	return environment
}

// asItIs folds nothing: the names of parameters differ by case.
func asItIs(name string) string { return name }

// definePlacements reads a list of names and values. Check looks at each name; two that
// fold to the same are the same.
func definePlacements(list strictyaml.Value, environment *expression.Environment, check func(strictyaml.Value), fold func(string) string) []Placement {
	var placements []Placement
	seen := map[string]bool{}
	for _, item := range list.Items() {
		name := item.Key("name")
		check(name)
		folded := fold(name.Text())
		if name.Text() != "" && seen[folded] {
			name.Problemf("this name stands twice")
		}
		seen[folded] = true
		placements = append(placements, Placement{Name: name.Text(), Value: compile(item.Key("value"), environment)})
	}
	return placements
}

// broken is the template of a text with a problem.
var broken = new(expression.Template)

// compile compiles the text at value. It reports what is wrong and returns broken then.
func compile(value strictyaml.Value, environment *expression.Environment) *expression.Template {
	template, problems := environment.Compile(value.Text())
	for _, problem := range problems {
		value.ProblemAtf(problem.Offset, "%s", problem.Message)
	}
	return cmp.Or(template, broken)
}

// undecorated are the headers that say where a message ends and to whom it goes.
var undecorated = []string{"host", "content-length", "transfer-encoding", "connection"}

func checkHeaderName(name strictyaml.Value) {
	switch text := name.Text(); {
	case text == "":
	case !httpguts.ValidHeaderFieldName(text):
		name.Problemf("this is no name of an HTTP header: use letters, digits and hyphens")
	case slices.Contains(undecorated, strings.ToLower(text)):
		name.Problemf("the header %s cannot be set: it is part of how HTTP itself works", text)
	}
}

func checkParamName(name strictyaml.Value) {
	for _, r := range name.Text() {
		if r < ' ' || r == 0x7f {
			name.Problemf("a query parameter's name cannot hold control characters")
			return
		}
	}
}

// checkPlacements reports a method that places nothing, or fetches a token for
// nothing.
func checkPlacements(item strictyaml.Value, method *AuthMethod) {
	places := slices.Concat(method.Headers, method.QueryParams)
	if len(places) == 0 {
		item.Problemf("the method places nothing: give it headers or query_params")
		return
	}
	usesToken := slices.ContainsFunc(places, func(p Placement) bool {
		return slices.Contains(p.Value.Uses(), TokenVariable)
	})
	if method.TokenRequest != nil && !usesToken {
		item.Key("token_request").Problemf("the token is never used: no header or query parameter holds ${%s}", TokenVariable)
	}
}

// checkFieldsUsed reports each field that neither a placement nor the token request uses. It
// reports nothing while an expression is broken: that one may be where the field belongs.
func checkFieldsUsed(list strictyaml.Value, method *AuthMethod) {
	places := slices.Concat(method.Headers, method.QueryParams)
	var used []string
	if method.TokenRequest != nil {
		used = []string{ClientIDField, ClientSecretField}
		places = append(places, method.TokenRequest.Parameters...)
	}
	for _, place := range places {
		if place.Value == broken {
			return
		}
		used = append(used, place.Value.Uses()...)
	}
	if len(places) == 0 {
		return // which was reported
	}
	for _, item := range list.Items() {
		if id := item.Key("id"); id.Text() != "" && !slices.Contains(used, id.Text()) {
			id.Problemf("this field is never used: no header, query parameter or parameter of a token request has a ${ } with it. Use it or remove it")
		}
	}
}

// reportRepeated reports an ID that was seen before.
func reportRepeated(seen map[string]bool, id strictyaml.Value, what string) bool {
	text := id.Text()
	if text == "" {
		return false
	}
	if seen[text] {
		id.Problemf("this %s stands twice", what)
		return true
	}
	seen[text] = true
	return false
}
