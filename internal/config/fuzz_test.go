package config_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// FuzzParse checks that Parse returns either a complete configuration, or problems that have places
// in the file.
func FuzzParse(f *testing.F) {
	f.Add(string(simulated.Config))
	f.Add(pendo("{value: k}"))
	f.Add(pendo("{file: good}"))
	f.Add("listen: {grpc: \"unix:///run/b.sock\", socket_mode: \"0660\"}\ncredentials: []\n")
	f.Add("providers:\n- {id: a, display_name: A, allowed_hosts: [a.test], auth_methods: [{id: m, display_name: M, fields: [{id: k, display_name: K}], headers: [{name: X, value: \"${k.orValue('x')}\"}]}]}\n")
	f.Add("token_cache: {redis: {url: \"rediss://a:1/2\", username: {env: SET}, password: {env: SET}, tls: {server_name: a}}, fleet_keys: [{env: KEY_1}, {env: KEY_2}], renewal_window: 1h}\n")
	f.Add("token_cache: {redis: {addresses: [\"a:1\"], sentinel_master: m}, fleet_keys: [{env: KEY_1}], forced_renewals: {limit: 1, window: 1m}}\n")
	f.Add("authentication: {jwt: [{name: a, issuer: i, audiences: [b], jwks_url: \"https://a\", algorithms: [ES256]}], tokens: [{name: a, sha256: \"0000000000000000000000000000000000000000000000000000000000000000\"}]}\n")
	f.Add("credentials: []\ngrants: [{callers: [\"*\", \"uid:1*\"], credentials: [\"a*\"], providers: [pendo], actions: [use, manage]}]\naudit: {stdout: true, mode: best_effort}\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") {
			return // Parse would read any file that the fuzzer names
		}
		loaded, err := config.Parse(filepath.Join(dir, "b.yaml"), []byte(text), config.Options{LookupEnv: fleetEnvironment})
		var problems yamlfile.Problems
		switch {
		case errors.As(err, &problems):
			for _, problem := range problems {
				if problem.Line < 1 || problem.Column < 1 || problem.Message == "" || strings.ContainsAny(problem.Message, "\n\r") {
					t.Errorf("a problem has no place, or is not one line: %+v", problem)
				}
			}
		case err != nil:
			t.Errorf("the error is not a list of problems: %v", err)
		default:
			if redis := loaded.TokenCache.Redis; redis != nil && (len(redis.Addresses) == 0 || loaded.TokenCache.FleetKeys == nil) {
				t.Error("Parse reports no problem, but the Redis configuration has no address or no fleet keys")
			}
			if !loaded.TokenCache.Same(loaded.TokenCache) {
				t.Error("a token cache differs from itself")
			}
			for credential := range loaded.Credentials.All() {
				if credential.ID == "" || credential.Provider == nil || credential.Method == nil || len(credential.AllowedHosts) == 0 {
					t.Error("Parse reports no problem, but a credential is incomplete")
				}
			}
		}
	})
}
