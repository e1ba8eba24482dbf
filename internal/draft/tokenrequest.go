package draft

import (
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/curlcommand"
)

const grantType = "grant_type"

const (
	mayIdentify = "If this only identifies an account, write false."
	replaced    = "If each answer has a new refresh token that replaces this one, add `response: {refresh_token: refresh_token}`."
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

// fromPairs returns parameters by their names. The value of a repeated parameter is a list.
func fromPairs(pairs []curlcommand.Pair) map[string]any {
	all := map[string]any{}
	for _, pair := range pairs {
		switch before := all[pair.Name].(type) {
		case nil:
			all[pair.Name] = pair.Value
		case string:
			all[pair.Name] = []any{before, pair.Value}
		case []any:
			all[pair.Name] = append(before, pair.Value)
		}
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
		return errors.New("the token request must have its parameters in a form (curl's option --data), in JSON or in the query; a definition cannot describe curl's option --form and bodies from files")
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
	if text == catalog.RefreshTokenField {
		r.request.Notes = append(r.request.Notes, replaced)
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
