package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/simulated"
)

// IDs of the credentials that the load asks for.
const (
	warmToken = "sendpulse-oauth" //nolint:gosec // it is an ID
	staticKey = "pendo"
	smallKey  = "key-of-300-bytes" // the answers have about these sizes
	mediumKey = "key-of-1100-bytes"
	largeKey  = "key-of-4000-bytes"

	// bulkPrefix is the beginning of the IDs of further credentials; a number follows it. The
	// decorations of these credentials are about as large as the decoration of the credential
	// mediumKey.
	bulkPrefix = "key-of-1100-byte-"
	manyIDs    = 10_000
)

// keySizes contains the API key lengths that result in small, medium and large answers.
var keySizes = map[string]int{smallKey: 165, mediumKey: 960, largeKey: 3850}

// simulatedCredentials is the number of credentials in the simulated configuration.
const simulatedCredentials = 5

// fleetKeyVariable is the name of the environment variable that contains the fleet key.
const fleetKeyVariable = "BROKER_FLEET_KEY"

// auditModes contains the audit modes that the configuration file allows.
var auditModes = []string{"required", "best_effort"}

// File names in a folder of certificates.
const (
	authoritiesFile = "authorities.pem"
	serverFile      = "server"
	clientFile      = "client"   // followed by a number
	strangerFile    = "stranger" // a caller without a grant for the keys
	auditFile       = "audit.jsonl"
)

// loadCaller is the SPIFFE ID in the load's client certificates, without the number at its end.
const loadCaller = "spiffe://bench.test/load/"

// limitsText is the section `limits` of the configuration, with limits that the load does not
// reach.
const limitsText = "limits: {calls_per_second: 1000000, call_burst: 10000000, concurrent_calls: 10000, connections: 1000, connections_per_caller: 1000}\n"

// guardsText contains the sections `audit` and `grants` of the configuration of a broker with
// TLS. The load uses the third grant.
const guardsText = `audit: {file: %[1]q, mode: %[2]s}
grants:
  - {callers: ["token:*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/other/*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/load/*"], credentials: ["spot*", "key-of-*00-*", "sendpulse-*"]}
  - {callers: ["spiffe://bench.test/*"], providers: [pulsedive]}
  - {callers: ["spiffe://bench.test/lo*"], credentials: ["sendpulse-k*", "pendo"]}
`

// configOf returns the configuration of a task's broker. It contains the simulated credentials,
// further credentials up to the task's number of credentials, and the task's Redis. The
// parameter `last` is the secret of the last credential.
func configOf(told task, last string) []byte {
	var text bytes.Buffer
	text.WriteString(limitsText)
	if told.Redis != "" {
		fmt.Fprintf(&text, "token_cache:\n  redis: {url: \"redis://%s\"}\n  fleet_keys: [{env: %s}]\n", told.Redis, fleetKeyVariable)
	}
	base := simulated.Config
	if told.Certificates != "" {
		in := func(name string) string { return filepath.Join(told.Certificates, name) }
		fmt.Fprintf(&text, guardsText, in(auditFile), told.Audit)
		writeGrants(&text, told.Grants)
		listening := fmt.Sprintf("listen:\n  tls: {certificate_file: %q, key_file: %q, client_ca_file: %q}\n",
			in(serverFile+".pem"), in(serverFile+".key"), in(authoritiesFile))
		base = bytes.Replace(base, []byte("listen:\n"), []byte(listening), 1)
	}
	text.Write(base)
	for _, id := range []string{smallKey, mediumKey, largeKey} {
		writeKey(&text, id, keyOf(keySizes[id], ""))
	}
	for i := simulatedCredentials; i < told.Credentials; i++ {
		end := fmt.Sprint(i)
		if i == told.Credentials-1 {
			end = last
		}
		writeKey(&text, fmt.Sprintf("%s%d", bulkPrefix, i), keyOf(told.keySize(), end))
	}
	return text.Bytes()
}

// keySize returns the length of a bulk credential's key. Bulk credentials that the load does not
// ask for have short keys.
func (t task) keySize() int {
	if t.IDs > 0 {
		return keySizes[mediumKey]
	}
	return 10
}

// keyOf returns an API key that has the given length and ends with the given text.
func keyOf(size int, end string) string {
	return strings.Repeat("k", max(0, size-len(end))) + end
}

func writeKey(text *bytes.Buffer, id, key string) {
	fmt.Fprintf(text, "  - id: %s\n    provider: pendo\n    auth_method: api_key\n    values:\n      api_key: {value: %s}\n", id, key)
}

// loader returns a function that loads the configuration of a task. The returned function
// expects the secret of the last credential. Each process has its own fleet key and its own
// simulated accounts.
func loader(told task, sim *simulator.Simulator) func(last string) func() (*config.Config, error) {
	fleetKey, fromSimulator := fleetkeys.Generate(), simulated.Environment(sim)
	environment := func(name string) (string, bool) {
		if name == fleetKeyVariable {
			return fleetKey, true
		}
		return fromSimulator(name)
	}
	return func(last string) func() (*config.Config, error) {
		text := configOf(told, last)
		return func() (*config.Config, error) {
			return config.Parse("bench.yaml", text, config.Options{LookupEnv: environment})
		}
	}
}
