package consoletest_test

import (
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// account is an account at a simulated provider.
type account struct {
	name, provider, method string
	values, next           map[string]string // by field
	wrong                  string            // a secret field; the account does not accept another value
	verified               string            // the word for a verification of the values
}

func accounts(sim *simulator.Simulator) []account {
	pair := func(c simulator.Client) map[string]string {
		return map[string]string{"client_id": c.ID, "client_secret": c.Secret}
	}
	return []account{
		{"SendPulse by client", "sendpulse", "oauth2_client_credentials", pair(sim.SendPulse.Client()), pair(sim.SendPulse.AddClient(simulator.Client{})), "client_secret", "Accepted"},
		{"SendPulse by key", "sendpulse", "api_key", map[string]string{"api_key": sim.SendPulse.APIKey()}, map[string]string{"api_key": sim.SendPulse.AddAPIKey()}, "api_key", "Accepted"},
		{"Pulsedive", "pulsedive", "api_key", map[string]string{"api_key": sim.Pulsedive.Key()}, map[string]string{"api_key": sim.Pulsedive.AddKey()}, "api_key", "Inconclusive"},
		{"Pendo", "pendo", "api_key", map[string]string{"api_key": sim.Pendo.Key()}, map[string]string{"api_key": sim.Pendo.AddKey("app.eu.pendo.io")}, "api_key", "Accepted"},
		{"SpotDraft", "spotdraft", "client_headers", pair(sim.SpotDraft.Client()), pair(sim.SpotDraft.AddClient()), "client_secret", "Accepted"},
	}
}

func field(id string) string { return `input[name="values.` + id + `"]` }

// fill types values into the form for a credential.
func fill(page *browsertest.Page, values map[string]string) {
	for id, value := range values {
		page.Type(field(id), value)
	}
}

// TestLife checks what a person does with a credential, for every auth method: add it, with a
// verification of right and wrong values, rotate it with a wrong and a right secret, roll back, delete
// and restore.
func TestLife(t *testing.T) {
	s := serve(t, "")
	browser := browsertest.Start(t)
	for _, a := range accounts(s.simulator) {
		t.Run(a.name, func(t *testing.T) {
			s := s.in(t)
			page := s.signedIn(browser)
			page.Click(`a.button[href="/add"]`)
			page.Type(`input[type="search"]`, a.provider)
			page.Click(`a[href="/add/` + a.provider + `/` + a.method + `"]`)
			page.Type(`input[name="display_name"]`, a.name)
			fill(page, a.values)
			page.Type(field(a.wrong), "wrong-secret")
			page.Click(`button[value="verify"]`)
			page.AwaitText("#result", "Refused")
			fill(page, a.values)
			page.Click(`button[value="verify"]`)
			page.AwaitText("#result", a.verified)
			page.Click(`button[value="save"]`)
			page.AwaitPath("/credentials/")
			page.AwaitText("main", "The credential is saved.")
		})
	}
}
