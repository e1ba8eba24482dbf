package simulator

import (
	"net/http"
	"sync"
)

const sendPulseHost = "api.sendpulse.com"

// SendPulse simulates SendPulse's API on the host api.sendpulse.com.
//
// The simulated token endpoint is POST /oauth/access_token. The endpoint accepts JSON, as the
// vendor documents, and forms, which some of the official SDKs send.
//
// The simulator serves only the API call GET /user/info. The answer to this call has status 200
// if the request has a valid token or a valid static API key. A request without a valid token or key
// gets status 401 and the body {"message":"Unauthorized!","error_code":401}, as the vendor documents.
type SendPulse struct {
	*TokenEndpoint
	*API

	apiKey  string
	apiKeys secretSet[string]
	keep    func(secret string) string

	mutex  sync.Mutex
	client Client
}

func newSendPulse(s *Simulator) *SendPulse {
	p := &SendPulse{
		TokenEndpoint: newTokenEndpoint(s, TokenRules{}),
		API:           new(API),
		keep:          s.secrets.keep,
	}
	p.apiKey = p.AddAPIKey()
	p.passport = true
	p.client = p.AddClient(Client{})
	s.simulate("POST "+sendPulseHost+"/oauth/access_token", http.HandlerFunc(p.serve))
	s.simulate("GET "+sendPulseHost+"/user/info", p.handler(p.userInfo))
	return p
}

// Client returns the client ID and secret of the account.
func (p *SendPulse) Client() Client {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.client
}

// APIKey returns the account's first static API key. Static API keys do not expire.
func (p *SendPulse) APIKey() string { return p.apiKey }

// AddAPIKey creates one more static API key, and returns it. The other keys stay valid. The simulator
// does not enforce the vendor's limit of five keys.
func (p *SendPulse) AddAPIKey() string { return p.apiKeys.add(p.keep("sp_apikey_" + randomHex(32))) }

// RemoveAPIKey makes a static API key invalid.
func (p *SendPulse) RemoveAPIKey(key string) { p.apiKeys.remove(key) }

// RotateClientSecret gives the account a new client ID and secret, and returns them. The old client
// is rejected at once, as the vendor documents. In the simulator, the tokens of the old client stay
// valid until RevokeTokens is called; the vendor does not document whether they stay valid.
func (p *SendPulse) RotateClientSecret() Client {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.RemoveClient(p.client.ID)
	p.client = p.AddClient(Client{})
	return p.client
}

func (p *SendPulse) userInfo(r *http.Request) (answer, bool) {
	if !p.apiKeys.has(bearer(r)) && !p.Accepts(r) {
		return sendPulseError(http.StatusUnauthorized, "Unauthorized!"), false
	}
	return jsonAnswer(http.StatusOK, fields{"id": 1, "email": "owner@example.test"}), true
}

// SendPulseForbidden answers with status 403, as SendPulse does if the account's plan, the
// user's role or the client's IP address does not allow a request. The vendor does not document
// the text of this answer.
func SendPulseForbidden() Failure {
	return always(sendPulseError(http.StatusForbidden, "Access denied"))
}

// SendPulseRateLimited answers with status 429, as SendPulse does after 10 requests in a second.
// The answer has no Retry-After header, because the vendor documents none. The vendor does not
// document the text of this answer.
func SendPulseRateLimited() Failure {
	return always(sendPulseError(http.StatusTooManyRequests, "Too many requests"))
}

func sendPulseError(status int, message string) answer {
	return jsonAnswer(status, fields{"message": message, "error_code": status})
}
