package catalog

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Only the broker itself may set these parameters of a token request.
var reserved = []string{"grant_type", ClientIDField, ClientSecretField}

func defineTokenRequest(item, fields yamlfile.Value, method *AuthMethod) *TokenRequest {
	item.Mapping("url", "body", "client_authentication", "parameters", "default_lifetime", "allow_private_addresses", "previous_token").
		Requires("url", "body", "client_authentication")
	for _, id := range []string{ClientIDField, ClientSecretField} {
		if field := method.Field(id); field == nil || !field.Required {
			fields.Problemf("a method with a token_request needs a required field %q", id)
		}
	}
	return &TokenRequest{
		URL:                   readURL(item.Get("url")),
		Body:                  BodyFormat(item.Get("body").OneOf(string(BodyJSON), string(BodyForm))),
		ClientAuthentication:  ClientAuthentication(item.Get("client_authentication").OneOf(string(ClientInRequestBody), string(ClientInBasic))),
		Parameters:            readParameters(item.Get("parameters"), method.Fields),
		DefaultLifetime:       item.Get("default_lifetime").Duration(time.Second, token.MaxLifetime, time.Hour, "from 1s to 168h, such as 3600s or 15m"),
		AllowPrivateAddresses: item.Get("allow_private_addresses").Bool(false),
		EndsPrevious:          item.Get("previous_token").OneOf("KEPT", "ENDED") == "ENDED",
	}
}

// readParameters reads the additional parameters of a token request, whose expressions may use only
// the fields of the auth method, because there is no token yet.
func readParameters(mapping yamlfile.Value, fields []Field) []Placement {
	environment, err := newEnvironment(fields, false)
	if err != nil {
		return nil // a problem was already reported
	}
	var parameters []Placement
	entries, _ := mapping.Entries()
	if len(entries) > 50 {
		mapping.Problemf("must have at most 50 keys")
	}
	for _, entry := range entries {
		name := entry.Key().Text(yamlfile.MaxText)
		if slices.Contains(reserved, strings.ToLower(name)) {
			entry.Key().Problemf("the broker sets the parameter %q itself", name)
		}
		parameters = append(parameters, Placement{Name: name, Value: compile(entry, 0, environment)})
	}
	return parameters
}

// readURL returns a URL to which secrets may be sent. For any other URL, readURL reports a problem
// and returns "".
func readURL(value yamlfile.Value) string {
	text := value.Text(maxURL)
	if text == "" {
		return ""
	}
	problem := ""
	parsed, err := url.Parse(text)
	switch {
	case err != nil || parsed.Opaque != "" || parsed.Hostname() == "" || !validHost(strings.ToLower(parsed.Host)) || strings.Contains(text, " "):
		problem = "must be a URL such as https://api.example.com/oauth/token"
	case parsed.User != nil || parsed.Fragment != "":
		problem = "must not have a user or a fragment: remove it"
	case parsed.Scheme == "https":
	case parsed.Scheme == "http" && isLoopback(parsed.Hostname()):
	default:
		problem = "must begin with https://, or with http:// and a literal loopback address"
	}
	if problem != "" {
		value.Problemf("%s", problem)
		return ""
	}
	return text
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
