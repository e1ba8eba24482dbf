package expression_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

func evaluate(t *testing.T, text string, values map[string]string) (string, error) {
	t.Helper()
	env, err := expression.NewEnvironment(expression.Variable{Name: "a"}, expression.Variable{Name: "login.session"})
	if err != nil {
		t.Fatal(err)
	}
	template, problems := env.Compile(text)
	if problems != nil {
		t.Fatalf("%s: %v", text, problems)
	}
	got, _, err := template.Evaluate(values)
	return got, err
}

func TestFunctions(t *testing.T) {
	for _, test := range []struct{ text, a, want string }{
		{"${lower(a)}-${upper(a)}", "Éa1", "éa1-ÉA1"},
		{"${sha256(a)}", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}, // FIPS 180-4, example of one block
		{"${json(a, 'x.0.y')}", `{"x": [{"y": "z"}]}`, "z"},
		{"${json(a, 'n')}", `{"n": 10000000000000001}`, "10000000000000001"},
		{"${json(a, 'private' + '_key')}", `{"private_key": "line\nline"}`, "line\nline"},
		{"${login.session}/${a}", "x", "s1/x"},
		{"${base64(login.session + ':' + a)}", "x", "czE6eA=="},
	} {
		if got, err := evaluate(t, test.text, map[string]string{"a": test.a, "login.session": "s1"}); got != test.want || err != nil {
			t.Errorf("%s is %q with the error %v, want %q", test.text, got, err, test.want)
		}
	}
}

// TestErrorsOfFunctions checks that errors explain the problem without the value.
func TestErrorsOfFunctions(t *testing.T) {
	for _, test := range []struct{ text, a, want string }{
		{"${json(a, 'x')}", "hidden", "json(): the text is not JSON"},
		{"${json(a, 'x')}", `{"y": "hidden"}`, "json(): the JSON has no text at the path"},
		{"${json(a, 'x')}", `{"x": {"hidden": 1}}`, "json(): the JSON has no text at the path"},
		{"${json('{}', a)}", "hidden.", "json(): the path is not valid"},
		{"${fingerprint(a)}", "hidden", "fingerprint(): the text has no private key in PEM: a line -----BEGIN PRIVATE KEY----- is expected"},
		{"${thumbprint(a)}", "hidden", "thumbprint(): the text has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected"},
		{"${upper(a + a)}", strings.Repeat("hidden", 20<<10), "the expression cannot be evaluated"},
	} {
		got, err := evaluate(t, test.text, map[string]string{"a": test.a})
		if err == nil || got != "" || err.Error() != test.want {
			t.Errorf("%s is %q with the error %v, want %q", test.text, got, err, test.want)
		}
	}
}

func TestFingerprints(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	want := base64.StdEncoding.EncodeToString(sum[:])
	for kind, der := range map[string][]byte{"PRIVATE KEY": private, "PUBLIC KEY": public} {
		text := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		if got, err := evaluate(t, "${fingerprint(a)}", map[string]string{"a": text}); got != want || err != nil {
			t.Errorf("the fingerprint of the %s is %q with the error %v, want %q", kind, got, err, want)
		}
	}
	certificate := authtest.NewAuthority("ca", time.Now()).IssueLoopback()
	sum = sha256.Sum256(certificate.Certificate[0])
	want = base64.RawURLEncoding.EncodeToString(sum[:])
	text := string(authtest.CertificatePEM(certificate))
	if got, err := evaluate(t, "${thumbprint(a)}", map[string]string{"a": text}); got != want || err != nil {
		t.Errorf("the thumbprint is %q with the error %v, want %q", got, err, want)
	}
}
