package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

// TestProxies checks that proxies need TLS with a proof, or a Unix socket, for their own address.
func TestProxies(t *testing.T) {
	const (
		both = "proxies: {envoy: true, nginx: true}\n"
		jwt  = "authentication: {jwt: [{name: i, issuer: \"https://i\", audiences: [b], jwks_url: \"https://i/k\"}]}\n"
	)
	for _, one := range []struct {
		text, problem string
		problems      int
	}{
		{both, "needs listen.tls", 2},
		{both + withTLS, "needs callers that authenticate", 2},
		{both + withTLS + jwt, "", 0},
		{both + "listen: {grpc: \"unix:///g\", http: \"unix:///h\"}\n", "", 0},
		{both + "listen: {grpc: \"unix:///g\"}\n", "f:1:24: needs listen.tls, or a Unix socket as listen.http", 1},
		{"proxies: {nginx: true}\nlisten: {http: \"unix:///h\"}\n", "", 0},
		{"proxies: {envoy: false}\n", "", 0},
	} {
		folder, _ := listenFolder(t)
		file := filepath.Join(folder, "f")
		_, err := config.Parse(file, []byte(one.text), config.Options{LookupEnv: environment})
		text := strings.ReplaceAll(fmt.Sprint(err), file, "f")
		if (err != nil) != (one.problems > 0) || one.problems > 0 && strings.Count(text, "\n")+1 != one.problems || !strings.Contains(text, one.problem) {
			t.Errorf("%s has the problems %s", one.text, text)
		}
	}
}
