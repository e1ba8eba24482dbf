package config_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

func parseRequests(dir, text string) (*config.Config, error) {
	return config.Parse(filepath.Join(dir, "b.yaml"), []byte("token_requests: "+text+"\n"), config.Options{LookupEnv: environment})
}

func trusts(t *testing.T, pool *x509.CertPool, path string) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	_, err = certificate.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

func TestTokenRequests(t *testing.T) {
	dir := tlsFolder(t)
	roots := func(text string) config.TokenRequests {
		got, err := parseRequests(dir, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return got.TokenRequests
	}
	none, one, both := roots("{}"), roots("{ca_file: a.pem}"), roots("{ca_file: ab.pem}")
	if none.RootCAs != nil {
		t.Error("without ca_file, the authorities are not the system's")
	}
	a, b := filepath.Join(dir, "a.pem"), filepath.Join(dir, "b.pem")
	if !trusts(t, one.RootCAs, a) || trusts(t, one.RootCAs, b) || !trusts(t, both.RootCAs, a) || !trusts(t, both.RootCAs, b) {
		t.Error("the trusted authorities differ from the file")
	}
	if !none.Same(roots("{}")) || !one.Same(roots("{ca_file: a.pem}")) || one.Same(both) || one.Same(none) || none.Same(one) {
		t.Error("Same does not compare the certificates")
	}
}

// TestTokenRequestsAddToTheSystem checks that the authorities in `ca_file` are trusted in addition
// to those that the system trusts, here a single certificate.
func TestTokenRequestsAddToTheSystem(t *testing.T) {
	dir := tlsFolder(t)
	if os.Getenv("SSL_CERT_FILE") == "" { // the process reads SSL_CERT_FILE only once
		t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "b.pem"))
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRequests(dir, "{ca_file: a.pem}")
	if err != nil {
		t.Fatal(err)
	}
	added := system.Clone()
	text, err := os.ReadFile(filepath.Join(dir, "a.pem"))
	if err != nil || !added.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	if !got.TokenRequests.RootCAs.Equal(added) {
		t.Error("the pool does not consist of the system's authorities and the authorities of the file")
	}
}

func TestTokenRequestsMistakes(t *testing.T) {
	dir := tlsFolder(t)
	for name, test := range map[string]struct{ text, want string }{
		"no file":         {"{ca_file: none}", "the file does not exist"},
		"a key":           {"{ca_file: a.key}", "a.key:1: expected a CERTIFICATE, found PRIVATE KEY: only certificates belong in this file"},
		"no PEM":          {"{ca_file: good}", "good: the file has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected"},
		"no check":        {"{insecure_skip_verify: true}", "unknown key"},
		"private for all": {"{allow_private_addresses: true}", "unknown key"},
	} {
		if _, err := parseRequests(dir, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingPrintsARedis checks that package fmt never prints a password or a private key of the
// Redis configuration.
func TestNothingPrintsARedis(t *testing.T) {
	got, err := parseCache(tlsFolder(t), `{redis: {url: "rediss://a", username: {env: SET}, password: {env: SET}, tls: {certificate_file: a.pem, key_file: a.key}}, fleet_keys: [{env: KEY_1}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.TokenCache.Redis.Password.Reveal() != canary || len(got.TokenCache.Redis.TLS.Certificates) != 1 {
		t.Fatal("the Redis configuration has no password or no private key")
	}
	for _, value := range []any{got, *got, got.TokenCache, got.TokenCache.Redis, *got.TokenCache.Redis} {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d") {
			printed := fmt.Sprintf(verb, value)
			for _, leak := range []string{canary, fmt.Sprintf("%x", canary), keyOne, "PrivateKey{"} {
				if strings.Contains(strings.ToLower(printed), strings.ToLower(leak)) {
					t.Errorf("%s of %T prints a secret", verb, value)
				}
			}
		}
	}
}
