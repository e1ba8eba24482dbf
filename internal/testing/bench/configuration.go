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
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// These constants are the IDs of the credentials that the load generator requests.
const (
	warmToken = "sendpulse-oauth" //nolint:gosec // it is an ID
	staticKey = "pendo"
	smallKey  = "key-of-300-bytes" // the answers have about these sizes
	mediumKey = "key-of-1100-bytes"
	largeKey  = "key-of-4000-bytes"

	// bulkPrefix, followed by a number, is the ID of a bulk credential. Bulk credentials make the
	// configuration larger.
	bulkPrefix = "key-of-1100-byte-"
	manyIDs    = 10_000
)

// keySizes contains the API key lengths that result in small, medium and large answers.
var keySizes = map[string]int{smallKey: 165, mediumKey: 960, largeKey: 3850}

const simulatedCredentials = 5

const fleetKeyVariable = "BROKER_FLEET_KEY"

var auditModes = []string{"required", "best_effort"}

const (
	authoritiesFile = "authorities.pem"
	serverFile      = "server"
	clientFile      = "client"   // followed by a number
	strangerFile    = "stranger" // a caller without a grant for the keys
	auditFile       = "audit.jsonl"
)

// loadCaller, followed by a number, is a SPIFFE ID in one of the load generator's client
// certificates.
const loadCaller = "spiffe://bench.test/load/"

// limitsText is the section `limits`, with limits that the load generator does not reach.
const limitsText = "limits: {calls_per_second: 1000000, call_burst: 10000000, concurrent_calls: 10000, connections: 1000, connections_per_caller: 1000}\n"

// guardsText contains the sections `audit` and `grants` of a broker with TLS. The third grant
// allows the calls of the load generator.
const guardsText = `audit: {file: %[1]q, mode: %[2]s}
grants:
  - {callers: ["token:*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/other/*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/load/*"], credentials: ["spot*", "key-of-*00-*", "sendpulse-*"]}
  - {callers: ["spiffe://bench.test/*"], providers: [pulsedive]}
  - {callers: ["spiffe://bench.test/lo*"], credentials: ["sendpulse-k*", "pendo"]}
`

// configOf returns the configuration of the broker that a task describes. `last` is the end of the
// last bulk credential's API key.
func configOf(told task, last string) []byte {
	var text bytes.Buffer
	text.WriteString(limitsText)
	if told.Console {
		text.WriteString("console: {address: 127.0.0.1:0}\n")
	}
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
	if told.Store == "" {
		writeKey(&text, storedKey, keyOf(keySizes[mediumKey], ""))
	} else {
		writeStore(&text, told.Store)
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

// keySize returns the length of a bulk credential's API key. The key is as long as that of
// mediumKey if the load generator requests bulk credentials, and short otherwise.
func (t task) keySize() int {
	if t.IDs > 0 {
		return keySizes[mediumKey]
	}
	return 10
}

func keyOf(size int, end string) string {
	return strings.Repeat("k", max(0, size-len(end))) + end
}

func writeKey(text *bytes.Buffer, id, key string) {
	fmt.Fprintf(text, "  - id: %s\n    provider: pendo\n    auth_method: api_key\n    values:\n      api_key: {value: %s}\n", id, key)
}

// loader returns a function that calls configOf, and returns a function that parses the
// configuration. Each broker process has its own fleet key and its own simulated accounts.
func loader(told task, sim *simulator.Simulator) func(last string) func() (*config.Config, error) {
	fleetKey, fromSimulator := fleetkeys.Generate(), simulated.Environment(sim)
	environment := func(name string) (string, bool) {
		switch name {
		case fleetKeyVariable:
			return fleetKey, true
		case storeKeyVariable:
			return told.StoreKey, true
		case postgresUserVariable:
			return postgrestest.User, true
		case postgresPasswordVariable:
			return postgrestest.Password, true
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
