package catalog

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/strictyaml"
	"github.com/authmaterial/broker/internal/token"
)

// reserved are the parameters of a token request that the broker itself sets.
var reserved = []string{"grant_type", ClientIDField, ClientSecretField}

func defineTokenRequest(method strictyaml.Value, defined *AuthMethod) *TokenRequest {
	item := method.Key("token_request")
	for _, id := range []string{ClientIDField, ClientSecretField} {
		if field := defined.Field(id); field == nil || !field.Required {
			method.Key("fields").Problemf("a method with a token_request needs a required field %q", id)
		}
	}
	checkTokenURL(item.Key("url"))
	return &TokenRequest{
		URL:                   item.Key("url").Text(),
		Body:                  BodyFormat(item.Key("body").Text()),
		ClientAuthentication:  ClientAuthentication(item.Key("client_authentication").Text()),
		Parameters:            defineParameters(item.Key("parameters"), defined.Fields),
		DefaultLifetime:       defineLifetime(item.Key("default_lifetime")),
		AllowPrivateAddresses: item.Key("allow_private_addresses").Bool(),
		EndsPrevious:          item.Key("previous_token").Text() == "ENDED",
	}
}

// defineParameters reads the extra parameters. They are over the fields alone: there
// is no token yet.
func defineParameters(list strictyaml.Value, fields []Field) []Placement {
	environment := newEnvironment(fields, false)
	if environment == nil {
		return nil
	}
	var parameters []Placement
	for _, entry := range list.Entries() {
		if slices.Contains(reserved, strings.ToLower(entry.Name)) {
			entry.Key.Problemf("the broker sets the parameter %q itself", entry.Name)
		}
		reportUnevaluatedText(entry.Key, entry.Name)
		if entry.Name == "" {
			entry.Key.Problemf("a parameter needs a name")
		}
		parameters = append(parameters, Placement{Name: entry.Name, Value: compile(entry.Value, environment)})
	}
	return parameters
}

func defineLifetime(value strictyaml.Value) time.Duration {
	if value.Text() == "" {
		return defaultLifetime
	}
	lifetime, err := time.ParseDuration(value.Text())
	if err != nil || lifetime < time.Second || lifetime > token.MaxLifetime {
		value.Problemf("must be a duration from 1s to 168h, such as 3600s or 15m")
		return defaultLifetime
	}
	return lifetime
}

// checkTokenURL reports a URL to which a client secret must not be sent.
func checkTokenURL(value strictyaml.Value) {
	if value.Text() == "" {
		return
	}
	parsed, err := url.Parse(value.Text())
	switch {
	case err != nil || parsed.Opaque != "" || !validHost(strings.ToLower(parsed.Host)) || parsed.Hostname() == "" || strings.Contains(value.Text(), " "):
		value.Problemf("must be a URL such as https://api.example.com/oauth/token")
	case parsed.User != nil || parsed.Fragment != "":
		value.Problemf("must not have a user or a fragment: remove it")
	case parsed.Scheme == "https":
	case parsed.Scheme == "http" && isLoopback(parsed.Hostname()):
	default:
		value.Problemf("must begin with https://, or with http:// and a literal loopback address")
	}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
