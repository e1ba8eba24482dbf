package draft

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/curlcommand"
)

// isTokenRequest reports whether a command requests a token: it has a grant_type, or both parts of an
// OAuth client, in its body.
func isTokenRequest(c *curlcommand.Command) bool {
	parameters := parametersOf(c.Body)
	names := func(name string) bool {
		return slices.ContainsFunc(parameters, func(p curlcommand.Pair) bool { return p.Name == name })
	}
	return names("grant_type") || names(catalog.ClientIDField) && names(catalog.ClientSecretField)
}

// parametersOf returns the parameters in a body. A member in JSON that is no text has the text Unknown.
func parametersOf(body curlcommand.Body) []curlcommand.Pair {
	if body.Format != curlcommand.JSONBody {
		return body.Form
	}
	var parameters []curlcommand.Pair
	for _, name := range slices.Sorted(maps.Keys(body.JSON)) {
		text, ok := body.JSON[name].(string)
		if !ok {
			text = curlcommand.Unknown
		}
		parameters = append(parameters, curlcommand.Pair{Name: name, Value: text})
	}
	return parameters
}

// readTokenRequest makes the auth method one with a token request.
func (d *Definition) readTokenRequest(c *curlcommand.Command) error {
	request := &TokenRequest{URL: c.URL.String(), Body: "FORM", ClientAuthentication: "REQUEST_BODY"}
	d.Method.ID, d.Method.DisplayName, d.Method.TokenRequest = "oauth2_client_credentials", "Client ID and secret", request
	switch {
	case c.Method != http.MethodPost || len(c.Query) > 0:
		return errors.New("the token request is no POST request without a query")
	case !secure(c.URL):
		return errors.New("the token request must use https")
	case slices.ContainsFunc(strings.Split(c.URL.Path, "/"), ownPart):
		return errors.New("the URL of the token request has a part that may belong to one account: write the definition by hand")
	case c.Body.Format == curlcommand.JSONBody:
		request.Body = "JSON"
	}
	if err := d.readClient(c, request); err != nil {
		return err
	}
	for _, parameter := range parametersOf(c.Body) {
		if err := d.readParameter(request, parameter); err != nil {
			return err
		}
	}
	d.Method.VerificationNotes = []string{noAPIRequest}
	return nil
}

var errNoClient = errors.New("the token request has no client ID and client secret, in its body or by --user")

// readClient adds the fields for the client's ID and secret.
func (d *Definition) readClient(c *curlcommand.Command, request *TokenRequest) error {
	user := c.User
	if user == nil {
		if encoded, found := strings.CutPrefix(c.Header("Authorization"), "Basic "); found {
			user = decodeUser(encoded)
		}
	}
	if user != nil {
		request.ClientAuthentication = "BASIC"
		d.addField(catalog.ClientIDField, user.Name, false)
		d.addField(catalog.ClientSecretField, user.Password, true)
		return nil
	}
	for _, parameter := range parametersOf(c.Body) {
		switch parameter.Name {
		case catalog.ClientIDField, catalog.ClientSecretField:
			d.addField(parameter.Name, parameter.Value, parameter.Name == catalog.ClientSecretField)
		}
	}
	if len(d.Method.Fields) != 2 {
		return errNoClient
	}
	return nil
}

// readParameter adds a parameter of the token request.
func (d *Definition) readParameter(request *TokenRequest, parameter curlcommand.Pair) error {
	switch name := parameter.Name; {
	case name == "grant_type" && parameter.Value != "client_credentials":
		return fmt.Errorf("the token request has another grant type than client_credentials")
	case name == "grant_type", name == catalog.ClientIDField, name == catalog.ClientSecretField:
	case name == "scope" && !ownPart(parameter.Value):
		request.Parameters = append(request.Parameters, Placement{name, parameter.Value})
	default:
		id := d.addField(fieldID(name, "parameter"), parameter.Value, namesSecret(name) || ownPart(parameter.Value))
		request.Parameters = append(request.Parameters, Placement{name, "${" + id + "}"})
	}
	return nil
}
