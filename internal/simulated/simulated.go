// Package simulated contains a broker configuration for the accounts in package simulator. For each
// credential this package also contains an API call that succeeds only if the provider accepts the
// credential. AddAccounts does the same for other built-in providers. `broker demo` and package brokertest
// use this package; `broker serve` does not.
package simulated

import (
	_ "embed"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// Config is a configuration file with one credential for each auth method of SendPulse, Pulsedive,
// Pendo and SpotDraft. The secrets in it come from environment variables.
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

	// Provider and AuthMethod are IDs, and Account is the account of the credential. They are set only
	// for calls from AddAccounts.
	Provider, AuthMethod string
	Account              *simulator.Account
}

// Calls returns one call for each credential of Config, in the same order.
func Calls(sim *simulator.Simulator) []Call {
	return []Call{
		{Credential: "sendpulse-oauth", URL: "https://api.sendpulse.com/user/info", Recognised: sim.SendPulse.RecognisedRequests}, //nolint:gosec // the text is an ID
		{Credential: "sendpulse-key", URL: "https://api.sendpulse.com/user/info", Recognised: sim.SendPulse.RecognisedRequests},
		{Credential: "pulsedive", URL: "https://pulsedive.com/api/indicator.php?indicator=pulsedive.com", Recognised: sim.Pulsedive.RecognisedRequests},
		{Credential: "pendo", URL: "https://app.pendo.io/api/v1/token/verify", Recognised: sim.Pendo.RecognisedRequests},
		{Credential: "spotdraft", URL: "https://api.in.spotdraft.com/api/v2.1/public/contract_types/", Recognised: sim.SpotDraft.RecognisedRequests},
	}
}
