// Package simulated contains a broker configuration for the accounts in package simulator. For each
// credential this package also contains an API call that succeeds only if the provider accepts the
// credential. `broker demo` and package brokertest use this package; `broker serve` does not.
package simulated

import (
	_ "embed"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// Config is a configuration file with one credential for each auth method of the built-in
// providers. The secrets in it come from environment variables.
//
//go:embed broker.yaml
var Config []byte

// Environment returns a function that looks up the environment variables that Config names. The
// variables' values are the secrets of the simulator's accounts.
func Environment(sim *simulator.Simulator) func(name string) (value string, found bool) {
	spotDraft := sim.SpotDraft.Client()
	variables := map[string]string{
		"SENDPULSE_API_KEY":       sim.SendPulse.APIKey(),
		"PULSEDIVE_API_KEY":       sim.Pulsedive.Key(),
		"PENDO_API_KEY":           sim.Pendo.Key(),
		"SPOTDRAFT_CLIENT_ID":     spotDraft.ID,
		"SPOTDRAFT_CLIENT_SECRET": spotDraft.Secret,
		"SPOTDRAFT_USER_EMAIL":    sim.SpotDraft.UserEmail(),
		"SENDPULSE_CLIENT_ID":     sim.SendPulse.Client().ID,
		"SENDPULSE_CLIENT_SECRET": sim.SendPulse.Client().Secret,
	}
	return func(name string) (string, bool) {
		value, found := variables[name]
		return value, found
	}
}

// Call is an API call that succeeds only if the provider accepts a credential.
type Call struct {
	// Credential is the credential's ID in Config.
	Credential string
	// URL is the URL to call with the method GET, before the auth material is added.
	URL string
	// Recognised is a counter: it returns the number of calls that the provider has
	// authenticated so far.
	Recognised func() int
}

// Calls returns one call for each credential of Config, in the same order.
func Calls(sim *simulator.Simulator) []Call {
	return []Call{
		{"sendpulse-oauth", "https://api.sendpulse.com/user/info", sim.SendPulse.RecognisedRequests},
		{"sendpulse-key", "https://api.sendpulse.com/user/info", sim.SendPulse.RecognisedRequests},
		{"pulsedive", "https://pulsedive.com/api/indicator.php?indicator=pulsedive.com", sim.Pulsedive.RecognisedRequests},
		{"pendo", "https://app.pendo.io/api/v1/token/verify", sim.Pendo.RecognisedRequests},
		{"spotdraft", "https://api.in.spotdraft.com/api/v2.1/public/contract_types/", sim.SpotDraft.RecognisedRequests},
	}
}
