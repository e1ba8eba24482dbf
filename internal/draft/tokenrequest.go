package draft

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/curlcommand"
)

const grantType = "grant_type"

const (
	mayIdentify = "If this only identifies an account, write false."
	inResponse  = "If the answer has the token and its lifetime elsewhere than in access_token and expires_in, add a `response`."
)

// isTokenRequest reports whether a command requests a token: it has a grant_type, both parts of an
// OAuth client in its body, or a password in the body of a request for signing in.
func isTokenRequest(c *curlcommand.Command) bool {
	inBody := members(c.Body)
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { _, found := inBody[name]; return !found })
	}
	inQuery := slices.ContainsFunc(c.Query, func(p curlcommand.Pair) bool { return p.Name == grantType })
	return inQuery || has(grantType) || has(catalog.ClientIDField, catalog.ClientSecretField) || signsIn(c, inBody)
}

var signIn = regexp.MustCompile(`(?i)(log-?in|token|auth|oauth2?|sessions?|authenticate|sign-?in)$`)

// signsIn reports whether a command has a secret nowhere but in its body, and a URL for signing in.
func signsIn(c *curlcommand.Command, inBody map[string]any) bool {
	secret := func(p curlcommand.Pair) bool { return namesSecret(p.Name) }
	return c.Method == http.MethodPost && signIn.MatchString(strings.TrimSuffix(c.URL.Path, "/")) && c.User == nil &&
		!slices.ContainsFunc(c.Headers, secret) && !slices.ContainsFunc(c.Query, secret) &&
		slices.ContainsFunc(slices.Collect(maps.Keys(inBody)), namesSecret)
}

// members returns the parameters in a body.
func members(body curlcommand.Body) map[string]any {
	if body.Format == curlcommand.JSONBody {
		return body.JSON
	}
	return fromPairs(body.Form)
}

func fromPairs(pairs []curlcommand.Pair) map[string]any {
	all := map[string]any{}
	for _, pair := range pairs {
		all[pair.Name] = pair.Value
	}
	return all
}

// tokenReader reads a token request.
type tokenReader struct {
	reader
	request    *TokenRequest
	parameters map[string]any
}

// readTokenRequest makes the auth method one with a token request.
func (d *Definition) readTokenRequest(c *curlcommand.Command) error {
	d.Method.TokenRequest = &TokenRequest{ClientAuthentication: string(catalog.ClientUnauthenticated), Notes: []string{inResponse}}
	d.Method.VerificationNotes = []string{noAPIRequest}
	r := &tokenReader{request: d.Method.TokenRequest, reader: reader{
		Definition: d, command: c, headers: &d.Method.TokenRequest.Headers, params: &[]Placement{},
	}}
	if err := r.readForm(); err != nil {
		return err
	}
	if err := r.readGrantType(); err != nil {
		return err
	}
	r.readClient()
	if err := r.readHeaders(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.parameters)) {
		r.request.Parameters = append(r.request.Parameters, Parameter{name, r.parameter(name, r.parameters[name])})
	}
	r.readURL()
	if len(r.Method.Fields) == 0 {
		return errors.New("the token request has nothing that looks like a secret, such as client_secret in its body, or --user")
	}
	return nil
}

// readForm finds out how the request carries its parameters.
func (r *tokenReader) readForm() error {
	c := r.command
	switch c.Method {
	case http.MethodPost:
	case http.MethodGet, http.MethodPut:
		r.request.Method = c.Method
	default:
		return errors.New("the token request must have the method POST, GET or PUT")
	}
	if !secure(c.URL) {
		return errors.New("the token request must use https")
	}
	r.parameters = maps.Clone(members(c.Body))
	switch format := c.Body.Format; {
	case format == curlcommand.JSONBody && c.Method != http.MethodGet:
		r.request.Body = string(catalog.BodyJSON)
	case format == curlcommand.FormBody && c.Method != http.MethodGet:
		r.request.Body = string(catalog.BodyForm)
	case format == curlcommand.NoBody:
		r.request.Body, r.parameters = string(catalog.BodyQuery), fromPairs(c.Query)
	default:
		return errors.New("the token request must have its parameters in a form, in JSON or in the query")
	}
	return nil
}

var plainGrant = regexp.MustCompile(`^[a-z][a-z0-9:_.-]{0,99}$`)

func (r *tokenReader) readGrantType() error {
	grant, found := r.parameters[grantType]
	if !found {
		r.Method.ID, r.Method.DisplayName = "login", "Sign-in"
		return nil
	}
	text, _ := grant.(string)
	r.Method.ID, r.Method.DisplayName = nameOf(text)
	switch {
	case text == "authorization_code" || strings.HasSuffix(text, "device_code"):
		return errors.New("the token request needs a person in a browser, which a definition cannot describe: if the API issues refresh tokens, start from one")
	case !plainGrant.MatchString(text) || ownPart(text):
		return errors.New("the token request has a grant_type that is a variable: write the text itself")
	}
	r.request.GrantType = text
	delete(r.parameters, grantType)
	return nil
}

// nameOf returns the ID and the name of an auth method for a grant type.
func nameOf(grant string) (id, displayName string) {
	switch grant {
	case "client_credentials":
		return "oauth2_client_credentials", "Client ID and secret"
	case "refresh_token":
		return "refresh_token", "Refresh token"
	case "password":
		return "password", "User name and password"
	}
	return "oauth2_token", "OAuth 2.0 token"
}

// readClient adds the fields for the client's ID and secret, if the request has both.
func (r *tokenReader) readClient() {
	id, hasID := r.parameters[catalog.ClientIDField].(string)
	secret, hasSecret := r.parameters[catalog.ClientSecretField].(string)
	user := r.command.User
	if encoded, found := strings.CutPrefix(r.command.Header("Authorization"), "Basic "); found && user == nil {
		user = decodeUser(encoded)
	}
	authentication := catalog.ClientInBasic
	switch {
	case user != nil && isEncoded(user.Name) && isEncoded(user.Password):
		id, secret = user.Name, user.Password
	case user != nil:
		id, secret, authentication = user.Name, user.Password, catalog.ClientInBasicUnencoded
	case hasID && hasSecret:
		authentication = catalog.ClientInRequestBody
		delete(r.parameters, catalog.ClientIDField)
		delete(r.parameters, catalog.ClientSecretField)
	default:
		return
	}
	r.request.ClientAuthentication = string(authentication)
	r.addField(catalog.ClientIDField, id, false)
	r.addField(catalog.ClientSecretField, secret, true)
}

// isEncoded reports whether a text stays the same if it is encoded as in forms, or is unknown.
func isEncoded(text string) bool { return url.QueryEscape(text) == text || strings.Contains(text, "$") }

// readHeaders adds the headers that authenticate the token request, but not the client.
func (r *tokenReader) readHeaders() error {
	if r.request.ClientAuthentication == string(catalog.ClientUnauthenticated) || r.command.User == nil {
		name, method := r.Method.ID, r.Method.DisplayName
		isBasic := strings.HasPrefix(r.command.Header("Authorization"), "Basic ")
		command := *r.command
		command.User, command.Query = nil, nil
		command.Headers = slices.DeleteFunc(slices.Clone(command.Headers), func(header curlcommand.Pair) bool {
			return isBasic && strings.EqualFold(header.Name, "Authorization") || strings.EqualFold(header.Name, "Cookie")
		})
		r.reader.command = &command
		if err := r.readSecrets(); err != nil {
			return err
		}
		r.readIdentifiers()
		r.Method.ID, r.Method.DisplayName = name, method
	}
	return nil
}

// readURL sets the URL. A part of its path that may belong to one account becomes a field.
func (r *tokenReader) readURL() {
	c := r.command
	segments := strings.Split(c.URL.EscapedPath(), "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err == nil && ownPart(plain) {
			segments[i] = "${" + r.add("account", plain) + "}"
		}
	}
	r.request.URL = c.URL.Scheme + "://" + strings.ToLower(c.URL.Host) + strings.Join(segments, "/")
	if r.request.Body == string(catalog.BodyQuery) {
		return
	}
	var query []string
	for _, param := range c.Query {
		value := url.QueryEscape(param.Value)
		if namesSecret(param.Name) || ownPart(param.Value) {
			value = "${" + r.add(fieldID(param.Name, "parameter"), param.Value) + "}"
		}
		query = append(query, url.QueryEscape(param.Name)+"="+value)
	}
	if query != nil {
		r.request.URL += "?" + strings.Join(query, "&")
	}
}

// add adds a field whose value may be a secret.
func (r *tokenReader) add(id, value string) string {
	id = r.addField(id, value, true)
	if !namesSecret(id) {
		r.Method.Fields[len(r.Method.Fields)-1].Notes = []string{mayIdentify}
	}
	return id
}
