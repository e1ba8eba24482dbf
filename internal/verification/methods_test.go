package verification_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
)

// expected is the part of a result that differs between the auth methods.
type expected struct {
	outcome catalog.Outcome
	status  int
	words   string
}

// TestRightAndWrongSecrets tries the right and a wrong secret for each built-in auth method.
func TestRightAndWrongSecrets(t *testing.T) {
	w := newWorld(t)
	for id, test := range map[string]struct{ right, wrong expected }{
		"sendpulse-oauth": {
			expected{catalog.Accepted, 200, "SendPulse issued a token and accepted it (HTTP 200)."},
			expected{catalog.Refused, 401, "SendPulse refused the credential (HTTP 401, invalid_client)."},
		},
		"sendpulse-key": {
			expected{catalog.Accepted, 200, "SendPulse accepted the credential (HTTP 200)."},
			expected{catalog.Refused, 401, "SendPulse refused the credential (HTTP 401)."},
		},
		"pulsedive": {
			expected{catalog.Inconclusive, 200, "answers calls without a key in the same way"},
			expected{catalog.Refused, 401, "Pulsedive refused the credential (HTTP 401)."},
		},
		"pendo": {
			expected{catalog.Accepted, 200, "Pendo accepted the credential at app.pendo.io (HTTP 200)."},
			expected{catalog.Refused, 403, "also to a key of another region"},
		},
		"spotdraft": {
			expected{catalog.Accepted, 200, "SpotDraft accepted the credential at api.in.spotdraft.com (HTTP 200)."},
			expected{catalog.Refused, 401, "SpotDraft refused the credential at api.in.spotdraft.com (HTTP 401)."},
		},
	} {
		t.Run(id, func(t *testing.T) {
			w.T = t
			w.want(w.verify(w.credentials[id], nil), test.right.outcome, test.right.status, test.right.words)
			w.want(w.verify(withWrongSecret(w.credentials[id]), nil), test.wrong.outcome, test.wrong.status, test.wrong.words)
		})
	}
}

// TestOtherAnswers makes the APIs of all built-in auth methods fail in the ways in which servers
// and networks fail. Verifications with such answers are inconclusive.
func TestOtherAnswers(t *testing.T) {
	const page = "with an HTML page, as proxies and login pages do"
	for name, test := range map[string]struct {
		failure simulator.Failure
		status  int
		words   string
	}{
		"server error":      {simulator.ServiceUnavailable("30"), 503, "Try again later."},
		"rate limit":        {simulator.TooManyRequests("30"), 429, "limits the number of requests (HTTP 429). Try again later."},
		"redirect":          {simulator.Redirect(302), 302, "with a redirect, which is not followed (HTTP 302)."},
		"kept redirect":     {simulator.Redirect(307), 307, "with a redirect, which is not followed (HTTP 307)."},
		"page":              {simulator.HTMLPage(200), 200, page + " (HTTP 200)."},
		"unauthorized page": {simulator.HTMLPage(401), 401, page + " (HTTP 401)."},
		"forbidden page":    {simulator.HTMLPage(403), 403, page + " (HTTP 403)."},
		"failing gateway":   {simulator.HTMLPage(502), 502, "could not answer"},
		"empty":             {simulator.EmptyBody(), 200, "neither accepts nor refuses the credential (HTTP 200)."},
		"not JSON":          {simulator.NotJSON(), 200, "neither accepts nor refuses the credential (HTTP 200)."},
		"truncated":         {simulator.TruncateBody(), 200, "neither accepts nor refuses the credential (HTTP 200)."},
		"too large":         {simulator.HugeBody(), 200, "with more than 1 MiB (HTTP 200)."},
		"not found":         {simulator.AnswerWith(404, "application/json", `{"error":"x"}`), 404, "neither accepts nor refuses the credential (HTTP 404)."},
		"echo":              {simulator.EchoRequest(), 400, "neither accepts nor refuses the credential (HTTP 400)."},
		"cut off":           {simulator.CutAnswer(), 0, "cannot be reached"},
		"closed":            {simulator.CloseConnection(), 0, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for id, api := range w.apis() {
				api.FailAPIRequests(test.failure)
				w.want(w.verify(w.credentials[id], nil), catalog.Inconclusive, test.status, test.words)
			}
			if diff := cmp.Diff(simulator.Leaks{}, w.sim.Leaks()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProviderDown(t *testing.T) {
	w := newWorld(t)
	defer w.sim.Disconnect()()
	for _, credential := range w.credentials {
		w.want(w.verify(credential, nil), catalog.Inconclusive, 0, "cannot be reached")
	}
}

// TestSlowAnswers checks that one answer may take 10 seconds, and the answers of all hosts together
// 30 seconds.
func TestSlowAnswers(t *testing.T) {
	for name, failure := range map[string]simulator.Failure{"no answer": simulator.Hang(), "half a body": simulator.StallAnswer()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, simulator.InProcess())
				for id, api := range w.apis() {
					api.FailAPIRequests(failure)
					begun, longest := time.Now(), 10*time.Second
					if w.credentials[id].Method.Verification.Path != "" {
						longest = 30 * time.Second
					}
					w.want(w.verify(w.credentials[id], nil), catalog.Inconclusive, 0, "cannot be reached")
					if took := time.Since(begun); took != longest {
						t.Errorf("%s took %v, want %v", id, took, longest)
					}
				}
			})
		})
	}
}

// TestHarmlessDifferences checks that unusual answers with the right content are recognised.
func TestHarmlessDifferences(t *testing.T) {
	w := newWorld(t)
	for _, failure := range []simulator.Failure{simulator.ContentType("text/html"), simulator.SetCookie()} {
		w.sim.SendPulse.FailAPIRequests(failure)
		w.want(w.verify(w.credentials["sendpulse-key"], nil), catalog.Accepted, 200, "")
		w.want(w.verify(withWrongSecret(w.credentials["sendpulse-key"]), nil), catalog.Refused, 401, "")
	}
	if diff := cmp.Diff(simulator.Leaks{}, w.sim.Leaks()); diff != "" {
		t.Error(diff)
	}
}

// TestPermissions checks that a lack of permission is not taken for a wrong secret.
func TestPermissions(t *testing.T) {
	w := newWorld(t)
	w.sim.SendPulse.FailAPIRequests(simulator.SendPulseForbidden())
	for _, id := range []string{"sendpulse-oauth", "sendpulse-key"} {
		w.want(w.verify(w.credentials[id], nil), catalog.Inconclusive, 403,
			"SendPulse neither accepted nor refused the credential (HTTP 403). SendPulse answers like this if the plan")
	}
	stranger := with(w.credentials["spotdraft"], "user_email", "stranger@example.test")
	w.want(w.verify(stranger, nil), catalog.Inconclusive, 403, "Check that the user is an active member of the workspace.")
}

func TestPulsediveRateLimit(t *testing.T) {
	w := newWorld(t)
	w.sim.Pulsedive.FailAPIRequests(simulator.PulsediveRateLimited())
	w.want(w.verify(w.credentials["pulsedive"], nil), catalog.Inconclusive, 429, "Pulsedive limits the number of requests")
}

func TestPendoReadsTheFieldValid(t *testing.T) {
	w := newWorld(t)
	w.sim.Pendo.FailAPIRequests(simulator.ChangeField("valid", false))
	w.want(w.verify(w.credentials["pendo"], nil), catalog.Refused, 200, "Pendo refused the credential")
	w.sim.Pendo.FailAPIRequests(simulator.ChangeField("valid", "true"))
	w.want(w.verify(w.credentials["pendo"], nil), catalog.Inconclusive, 200, "")
}
