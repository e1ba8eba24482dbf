package formtest_test

import (
	"fmt"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

// TestCombinationsOfTheCatalog checks that each combination of settings with which a built-in provider
// requests tokens is also the combination of a case.
func TestCombinationsOfTheCatalog(t *testing.T) {
	tested := map[string]bool{}
	net := newInternet(t)
	for _, cases := range readCases(t) {
		for _, c := range cases {
			if c.Problem != "" {
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

// combination describes how a method obtains a token.
func combination(method *catalog.AuthMethod) string {
	if method.JWT != nil {
		return "self-signed " + method.JWT.Algorithm
	}
	request := method.TokenRequest
	if request == nil {
		return "no token"
	}
	signed := "no JWT"
	if request.JWT != nil {
		signed = request.JWT.Algorithm
	}
	lifetime := "lifetime"
	if request.Response.Lifetime == nil {
		lifetime = "expires_at"
	}
	return fmt.Sprintf("%s %s client=%s grant=%t parameters=%t headers=%t certificate=%t first=%d values=%t refused=%t refresh=%t %s %s",
		request.Method, request.Body, request.ClientAuthentication, request.GrantType != "", len(request.Parameters) > 0, len(request.Headers) > 0,
		request.ClientCertificate != nil, len(request.First), len(request.Response.Values) > 0, len(request.Response.Refused) > 0,
		request.Response.RefreshToken != nil, signed, lifetime)
}
