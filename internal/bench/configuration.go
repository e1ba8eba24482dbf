package main

import (
	"bytes"
	"fmt"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/simulated"
)

// simulatedCredentials is how many the simulated configuration has.
const simulatedCredentials = 5

// fleetKeyVariable is the environment variable that a configuration has its fleet key in.
const fleetKeyVariable = "BROKER_FLEET_KEY"

// configOf is the simulated configuration with more credentials, up to so many, and with
// the Redis of a task; last is the secret of the last one.
func configOf(told task, last string) []byte {
	var text bytes.Buffer
	if told.Redis != "" {
		fmt.Fprintf(&text, "token_cache:\n  redis: {url: \"redis://%s\"}\n  fleet_keys: [{env: %s}]\n", told.Redis, fleetKeyVariable)
	}
	if told.Certificates == "" {
		text.Write(simulated.Config)
	} else {
		writeChain(&text, told)
	}
	for i := simulatedCredentials; i < told.Credentials; i++ {
		secret := fmt.Sprintf("key-%d", i)
		if i == told.Credentials-1 {
			secret = last
		}
		fmt.Fprintf(&text, "  - id: more-%d\n    provider: pendo\n    auth_method: api_key\n    values:\n      api_key: {value: %s}\n", i, secret)
	}
	return text.Bytes()
}

// loader returns how to load the configuration of a task, with this secret for the last
// credential. The fleet key is another in each process, as are the simulated accounts.
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
