package catalog_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/server"
)

// jwtExample is what a JWT contains apart from iat, exp and jti.
type jwtExample struct{ Header, Claims map[string]any }

// keys are the keys and the certificate that examples name as generated:rsa, generated:ec and
// generated:certificate.
type keys struct {
	texts   map[string]string // in PEM, by these names
	publics map[string]crypto.PublicKey
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, rsaKey.Public(), rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	k := &keys{texts: map[string]string{}, publics: map[string]crypto.PublicKey{"R": rsaKey.Public(), "P": rsaKey.Public(), "E": ecKey.Public()}}
	for name, key := range map[string]any{"generated:rsa": rsaKey, "generated:ec": ecKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		k.texts[name] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	k.texts["generated:certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	return k
}

// insert replaces the name of a key in the value of a field, which may be JSON.
func (k *keys) insert(value string) string {
	for name, text := range k.texts {
		if strings.HasPrefix(strings.TrimSpace(value), "{") {
			text = strings.ReplaceAll(text, "\n", `\n`)
		}
		value = strings.ReplaceAll(value, name, text)
	}
	return value
}

var signed = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// cut checks the JWT in a text and puts the word JWT in its place. If no JWT is expected, it returns
// the text.
func (k *keys) cut(t *testing.T, text string, want *jwtExample) string {
	t.Helper()
	found := signed.FindString(text)
	if want == nil || found == "" {
		return text
	}
	algorithm, _ := want.Header["alg"].(string)
	parsed, err := jose.ParseSignedCompact(found, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
	if err != nil {
		t.Errorf("the JWT: %v", err)
		return text
	}
	payload, err := parsed.Verify(k.publics[algorithm[:1]])
	if err != nil {
		t.Errorf("the JWT: %v", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"iat", "exp", "jti"} {
		if claims[name] == nil {
			t.Errorf("the JWT has no %s", name)
		}
		delete(claims, name)
	}
	compare(t, "claims of the JWT", want.Claims, claims)
	var header map[string]any
	encoded, _, _ := strings.Cut(found, ".")
	if err := json.Unmarshal(raw(t, encoded), &header); err != nil {
		t.Error(err)
	}
	if want.Header["typ"] == nil {
		delete(header, "typ")
	}
	compare(t, "header of the JWT", want.Header, header)
	return strings.Replace(text, found, "JWT", 1)
}

// compare compares values, of which those in `want` that are GENERATED may be anything.
func compare(t *testing.T, what string, want, got map[string]any) {
	t.Helper()
	want = maps.Clone(want)
	for name, value := range want {
		if text, ok := value.(string); ok && strings.Contains(text, "GENERATED") && got[name] != nil {
			before, _, _ := strings.Cut(text, "GENERATED")
			if actual, ok := got[name].(string); ok && strings.HasPrefix(actual, before) {
				want[name] = got[name]
			}
		}
	}
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
		t.Errorf("the %s differs from the example:\n%s", what, diff)
	}
}

func asJSON(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

// normal returns a value that is equal for texts with the same meaning: JSON with the same value, and
// forms or URLs with the same parameters.
func normal(text, contentType string) any {
	var value any
	if strings.HasPrefix(contentType, "application/json") && json.Unmarshal([]byte(text), &value) == nil {
		return value
	}
	before, query, found := strings.Cut(text, "?")
	if contentType != "" {
		before, query, found = "", text, true
	}
	parameters, err := url.ParseQuery(query)
	if !found || err != nil {
		return text
	}
	return map[string]any{"before": before, "parameters": map[string][]string(parameters)}
}

func (k *keys) checkDecoration(t *testing.T, e *example, got *authmaterialv1.AuthDecoration) {
	t.Helper()
	var headers, params []pair
	for _, header := range got.GetHeaders() {
		headers = append(headers, pair{Name: header.GetName(), Value: k.cut(t, header.GetValue(), e.JWT), OnlyIfAbsent: header.GetOnlyIfAbsent()})
	}
	for _, param := range got.GetQueryParams() {
		params = append(params, pair{Name: param.GetName(), Value: param.GetValue()})
	}
	hosts := slices.Sorted(slices.Values(got.GetAllowedHosts()))
	for what, diff := range map[string]string{
		"headers":          cmp.Diff(sorted(e.Headers), sorted(headers)),
		"query parameters": cmp.Diff(sorted(e.QueryParams), sorted(params)),
		"hosts":            cmp.Diff(slices.Sorted(slices.Values(e.Hosts)), hosts),
	} {
		if diff != "" {
			t.Errorf("the %s of the decoration differ from the example:\n%s", what, diff)
		}
	}
}

// sorted sorts by name, in which the case of letters does not matter.
func sorted(pairs []pair) (all []string) {
	for _, p := range pairs {
		all = append(all, fmt.Sprint(strings.ToLower(p.Name), "=", p.Value, " ", p.OnlyIfAbsent))
	}
	slices.Sort(all)
	return all
}

func serve(t *testing.T, broker *server.Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	ended := make(chan error, 1)
	go func() { ended <- broker.ServeGRPC(listener) }()
	connection, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		broker.Stop(context.Background())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return connection
}

func raw(t *testing.T, encoded string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Error(err)
	}
	return data
}
