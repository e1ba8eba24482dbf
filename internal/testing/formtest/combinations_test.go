package formtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

// TestCombinationsOfTheCatalog checks that each combination of settings with which a built-in provider
// requests tokens is also the combination of a case in which the token is used.
func TestCombinationsOfTheCatalog(t *testing.T) {
	tested := map[string]bool{}
	net := newInternet(t)
	for _, cases := range readCases(t) {
		for _, c := range cases {
			if c.Decoration == "" {
				continue
			}
			loaded, err := config.Parse("broker.yaml", []byte(net.fill(c.configuration(t, net))), config.Options{LookupEnv: environment})
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			tested[combination(loaded.Credentials.Get("mine").Method)] = true
		}
	}
	for _, provider := range catalog.Builtin().Providers() {
		for _, method := range provider.AuthMethods {
			if used := combination(method); !tested[used] {
				t.Errorf("no case has the combination of %s.%s: add one to testdata/combinations.yaml: %s", provider.ID, method.ID, used)
			}
		}
	}
}

// combination describes how a method obtains a token, and what it adds to a request.
func combination(method *catalog.AuthMethod) string {
	isIfAbsent := func(header catalog.Placement) bool { return header.OnlyIfAbsent }
	return fmt.Sprintf("%s; headers=%t parameters=%t only_if_absent=%t rejected_when=%t", tokenCombination(method),
		len(method.Headers) > 0, len(method.QueryParams) > 0, slices.ContainsFunc(method.Headers, isIfAbsent), len(method.RejectedWhen) > 0)
}

func tokenCombination(method *catalog.AuthMethod) string {
	request := method.TokenRequest
	switch {
	case method.JWT != nil:
		return "self-signed " + signature(method.JWT)
	case request == nil:
		return "no token"
	}
	response, lifetime := request.Response, "in the token"
	switch {
	case response.ExpiresAt != nil:
		lifetime = "expires_at in " + kind(*response.ExpiresAt)
	case response.Lifetime != nil:
		lifetime = "lifetime in " + response.LifetimeUnit.String() + " in " + kind(*response.Lifetime)
	}
	return fmt.Sprintf("%s %s client=%s grant=%t parameters=%t headers=%t certificate=%t first=%d token in %s values=%t refused=%t refresh=%t %s, %s",
		request.Method, request.Body, request.ClientAuthentication, request.GrantType != "", len(request.Parameters) > 0, len(request.Headers) > 0,
		request.ClientCertificate != nil, len(request.First), kind(response.Token), len(response.Values) > 0, len(response.Refused) > 0,
		response.RefreshToken != nil, signature(request.JWT), lifetime)
}

func signature(jwt *catalog.JWT) string {
	if jwt == nil {
		return "no JWT"
	}
	return fmt.Sprintf("%s %s header=%t backdate=%t", jwt.Algorithm, jwt.KeyEncoding, len(jwt.Header) > 0, jwt.Backdate > 0)
}

// kind is the kind of a location.
func kind(location catalog.Location) string {
	if location.Path != nil {
		return "JSON"
	}
	kind, _, _ := strings.Cut(location.String(), " ")
	return kind
}
