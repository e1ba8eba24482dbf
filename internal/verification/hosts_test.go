package verification_test

import (
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
)

// withHosts returns a copy of a credential with additional allowed hosts.
func withHosts(credential *credentials.Credential, hosts ...string) *credentials.Credential {
	changed := *credential
	changed.AllowedHosts = append(append([]string{}, credential.Provider.AllowedHosts...), hosts...)
	return &changed
}

func TestARegionIsFound(t *testing.T) {
	const elsewhere = "us2.app.pendo.test"
	w := newWorld(t, simulator.WithHosts(elsewhere))
	own := with(withHosts(w.credentials["pendo"], elsewhere), "api_key", w.sim.Pendo.AddKey(elsewhere))
	w.want(w.verify(own, nil), catalog.Accepted, 200, "Pendo accepted the credential at us2.app.pendo.test (HTTP 200).")
	if got := w.sim.Pendo.APIRequests(); got != 1 {
		t.Errorf("the provider received %d requests, want only the request to the credential's own host", got)
	}

	third := with(w.credentials["pendo"], "api_key", w.sim.Pendo.AddKey("app.eu.pendo.io"))
	w.want(w.verify(third, nil), catalog.Accepted, 200, "Pendo accepted the credential at app.eu.pendo.io (HTTP 200).")
	if got := w.sim.Pendo.APIRequests(); got != 4 {
		t.Errorf("the provider received %d requests in total, want 4", got)
	}

	// The key is right, but the credential lacks the host of its region.
	missing := with(w.credentials["pendo"], "api_key", w.sim.Pendo.AddKey(elsewhere))
	w.want(w.verify(missing, nil), catalog.Refused, 403, "add it to the allowed hosts of the credential")
	if got := w.sim.Pendo.APIRequests(); got != 9 {
		t.Errorf("the provider received %d requests in total, want 9", got)
	}
}

// TestOneHostIsInconclusive checks that a refusal by some hosts is not conclusive while another host
// may accept the credential.
func TestOneHostIsInconclusive(t *testing.T) {
	w := newWorld(t)
	for failures, want := range map[int]string{1: "at app.pendo.io (HTTP 503)", 3: "at app.pendo.io (HTTP 503)"} {
		w.sim.Pendo.FailNextAPIRequests(failures, simulator.ServiceUnavailable(""))
		w.want(w.verify(withWrongSecret(w.credentials["pendo"]), nil), catalog.Inconclusive, 503, want)
	}
	w.sim.Pendo.FailNextAPIRequests(1, nil)
	w.sim.Pendo.FailNextAPIRequests(1, simulator.HTMLPage(502))
	w.want(w.verify(withWrongSecret(w.credentials["pendo"]), nil), catalog.Inconclusive, 502, "at us1.app.pendo.io (HTTP 502)")
	w.sim.Pendo.FailNextAPIRequests(1, simulator.ServiceUnavailable(""))
	third := with(w.credentials["pendo"], "api_key", w.sim.Pendo.AddKey("app.eu.pendo.io"))
	w.want(w.verify(third, nil), catalog.Accepted, 200, "at app.eu.pendo.io")
}

// TestOnlyTheHostOfTheURLIsAsked checks that the allowed hosts of a credential do not matter if the
// definition has a URL.
func TestOnlyTheHostOfTheURLIsAsked(t *testing.T) {
	w := newWorld(t)
	w.want(w.verify(withHosts(withWrongSecret(w.credentials["sendpulse-key"]), "app.pendo.io"), nil), catalog.Refused, 401, "")
	if w.sim.SendPulse.APIRequests() != 1 || w.sim.Pendo.APIRequests() != 0 {
		t.Error("another host was asked")
	}
}
