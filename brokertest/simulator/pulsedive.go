package simulator

import (
	"net/http"
	"net/url"
)

const (
	pulsediveHost      = "pulsedive.com"
	pulsediveIndicator = "pulsedive.com" // the only indicator that the simulator knows
	pulsediveTAXIIUser = "taxii2"
	taxiiContentType   = "application/taxii+json;version=2.1"
)

// Pulsedive simulates Pulsedive's API on the host pulsedive.com.
//
// The simulator serves only the API call GET /api/indicator.php?indicator=pulsedive.com&key=KEY.
// The call without a key is anonymous and also succeeds, as the vendor documents, but
// [API.RecognisedRequests] does not count it. The answer to a call with an unknown key has status
// 401, and the answer to a call for an unknown indicator has status 404. Both answers contain a
// JSON object with the field "error".
//
// The simulator also serves GET /taxii2/, the discovery request of Pulsedive's TAXII server. The
// request must have HTTP Basic authentication with the user taxii2 and the key as password.
type Pulsedive struct {
	*API

	key  string
	keys secretSet[string]
	keep func(secret string) string
}

func newPulsedive(s *Simulator) *Pulsedive {
	p := &Pulsedive{API: new(API), keep: s.secrets.keep}
	p.key = p.AddKey()
	s.simulate("GET "+pulsediveHost+"/api/indicator.php", p.handler(p.indicator))
	s.simulate("GET "+pulsediveHost+"/taxii2/{$}", p.handler(p.taxii))
	return p
}

// Key returns the account's first API key.
func (p *Pulsedive) Key() string { return p.key }

// AddKey creates one more API key, and returns it. The other keys stay valid in the simulator; the
// vendor does not document whether they stay valid.
func (p *Pulsedive) AddKey() string { return p.keys.add(p.keep(randomHex(32))) }

// RemoveKey makes an API key invalid.
func (p *Pulsedive) RemoveKey(key string) { p.keys.remove(key) }

func (p *Pulsedive) indicator(r *http.Request) (answer, bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	keys := query["key"]
	switch indicator := query.Get("indicator"); {
	case err != nil || indicator == "" || len(keys) > 1:
		return pulsediveError(http.StatusBadRequest, "Invalid request."), false
	case len(keys) == 1 && !p.keys.has(keys[0]):
		return pulsediveError(http.StatusUnauthorized, "API key invalid."), false
	case indicator != pulsediveIndicator:
		return pulsediveError(http.StatusNotFound, "Indicator not found."), len(keys) == 1
	default:
		return jsonAnswer(http.StatusOK, fields{"indicator": indicator, "risk": "none"}), len(keys) == 1
	}
}

func (p *Pulsedive) taxii(r *http.Request) (answer, bool) {
	user, password, _ := r.BasicAuth()
	if user != pulsediveTAXIIUser || !p.keys.has(password) || len(r.Header.Values("Authorization")) != 1 {
		refusal := pulsediveError(http.StatusUnauthorized, "API key invalid.")
		return refusal.with("WWW-Authenticate", `Basic realm="TAXII"`), false
	}
	discovery := jsonAnswer(http.StatusOK, fields{"title": "Pulsedive", "api_roots": []string{}})
	return discovery.with("Content-Type", taxiiContentType), true
}

// PulsediveRateLimited answers with status 429 and the text that Pulsedive's API documentation
// shows. The answer has the headers X-Requests-Remaining-Second, -Day and -Month, and no header
// Retry-After.
func PulsediveRateLimited() Failure {
	limited := pulsediveError(http.StatusTooManyRequests, "API rate limit exceeded: 1 requests per second.")
	return always(limited.
		with("X-Requests-Remaining-Second", "0").
		with("X-Requests-Remaining-Day", "9").
		with("X-Requests-Remaining-Month", "99"))
}

func pulsediveError(status int, message string) answer {
	return jsonAnswer(status, fields{"error": message})
}
