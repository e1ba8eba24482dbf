package draft

import (
	"net/url"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/curlcommand"
)

// readClient adds the fields for the client's ID and secret, if the request has both.
func (r *tokenReader) readClient() {
	id, hasID := r.parameters[catalog.ClientIDField].(string)
	secret, hasSecret := r.parameters[catalog.ClientSecretField].(string)
	user := r.command.User
	if value := r.command.Header("Authorization"); value != "" { // curl sends this header instead of the user
		user = nil
		if encoded, isBasic := strings.CutPrefix(value, "Basic "); isBasic {
			user = decodeUser(encoded)
		}
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
	id, name, whole := r.Method.ID, r.Method.DisplayName, r.command
	isBasic := strings.HasPrefix(whole.Header("Authorization"), "Basic ")
	command := *whole
	command.User, command.Query = nil, nil
	command.Headers = slices.DeleteFunc(slices.Clone(command.Headers), func(header curlcommand.Pair) bool {
		return isBasic && strings.EqualFold(header.Name, "Authorization") || strings.EqualFold(header.Name, "Cookie")
	})
	r.command = &command
	if err := r.readSecrets(); err != nil {
		return err
	}
	r.readIdentifiers()
	r.command, r.Method.ID, r.Method.DisplayName = whole, id, name
	return nil
}

// readURL sets the URL. A part of its path that may belong to one account becomes a field. Its query
// parameters become what the same parameters in a body become.
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
		value := r.textParameter(param.Name, param.Value)
		if !strings.HasPrefix(value, "${") { // a text that belongs to the API
			value = url.QueryEscape(value)
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
