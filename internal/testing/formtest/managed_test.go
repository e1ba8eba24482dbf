package formtest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
)

// callerToken authenticates the caller of each test, where a broker asks for it.
var callerToken = authentication.TokenPrefix + strings.Repeat("token-", 43)[:43]

// managing returns the configuration of a broker with the provider of the case, and with a credential
// store that allows the given hosts.
func (c testCase) managing(t *testing.T, net *internet, hosts ...string) string {
	t.Helper()
	var file map[string]any
	if err := yaml.Load([]byte(c.configuration(t, net)), &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "credentials")
	digest := sha256.Sum256([]byte(callerToken))
	file["authentication"] = map[string]any{"tokens": []any{map[string]string{"name": "admin", "sha256": hex.EncodeToString(digest[:])}}}
	file["grants"] = []any{map[string]any{"callers": []string{"token:admin"}, "credentials": []string{"*"}, "actions": []string{"use", "manage"}}}
	file["store"] = map[string]any{
		"url": "sqlite://" + filepath.Join(t.TempDir(), "broker.db"), "keys": []any{map[string]string{"env": "STORE_KEY"}}, "allowed_hosts": hosts,
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// create creates the managed credential `mine` with values as in a case.
func (b *broker) create(net *internet, values map[string]string, hosts ...string) error {
	ctx, cancel := b.call()
	defer cancel()
	request := &authmaterialv1.CreateCredentialRequest{Credential: &authmaterialv1.Credential{
		CredentialId: "mine", DisplayName: "Mine", Provider: "0-example", AuthMethod: "main-1_a",
	}, AllowedHosts: hosts}
	for field, value := range values {
		request.Values = append(request.Values, &authmaterialv1.FieldValue{Field: field, Value: net.made(value)})
	}
	_, err := authmaterialv1.NewCredentialServiceClient(b.conn).CreateCredential(ctx, request)
	return err
}

// TestManagedCredentials creates credentials whose values must be refused, and one that gets a
// decoration.
func TestManagedCredentials(t *testing.T) {
	net := newInternet(t)
	c := testCase{
		Hosts: []string{"${subdomain}.example.com", "${host}"}, AnyHost: true,
		Fields: "subdomain, host?, private_key*",
		Method: `{jwt: {algorithm: ES256, key: "${private_key}", claims: {iss: me}}, headers: [{name: Authorization, value: "Bearer ${jwt}"}]}`,
	}
	b, err := newBroker(t, net, c.managing(t, net, "listed.example.org"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		subdomain, host, key string
		hosts                []string
		want                 string // a part of the message
	}{
		"an encrypted key":    {"acme", "", "made:encrypted", nil, "the private key is encrypted with a password: decrypt it with 'openssl pkey -in OLD -out NEW'"},
		"an old one":          {"acme", "", "made:encrypted:old", nil, "the private key is encrypted with a password: decrypt it with 'openssl pkey -in OLD -out NEW'"},
		"a key of another":    {"acme", "", "made:rsa", nil, "the key is an RSA key, but the algorithm ES256 needs an EC key of the curve P-256"},
		"not a host":          {"evil.test/", "", "made:p256", nil, "must consist of lower-case letters, digits, hyphens and dots"},
		"a host not added":    {"acme", "listed.example.org", "made:p256", nil, "`allowed_hosts`"},
		"a host not allowed":  {"acme", "other.example.org", "made:p256", []string{"other.example.org"}, "must be one of store.allowed_hosts in the broker's configuration file"},
		"everything is right": {"acme", "listed.example.org", "made:p256", []string{"listed.example.org"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]string{"subdomain": test.subdomain, "private_key": test.key}
			if test.host != "" {
				values["host"] = test.host
			}
			err := b.create(net, values, test.hosts...)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got, failure := b.decoration(); !strings.HasPrefix(got, "acme.example.com listed.example.org\nAuthorization: Bearer ey") {
					t.Errorf("the decoration is %q (%s)", got, failure)
				}
				return
			}
			if status.Code(err) == codes.OK || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}
