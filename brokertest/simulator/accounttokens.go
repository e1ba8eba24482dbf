package simulator

import (
	"net/http"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
)

// maxSessions is the number of unfinished sessions that an account remembers for each request.
const maxSessions = 100

// step is a request that an account recognises: the number of the request in the list of the
// definition, and the variables with which the definition produces it.
type step struct {
	number    int
	variables variables
}

func (a *Account) requests() []*catalog.Request {
	if a.method.TokenRequest == nil {
		return nil
	}
	return requestsOf(a.method.TokenRequest)
}

// isTokenURL reports whether the method and the URL of a request are those of one of the requests that
// obtain a token.
func (a *Account) isTokenURL(r *http.Request) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	known := a.values.with(variables{catalog.JWTVariable: jwtPattern.FindString(r.URL.Path)})
	for number, definition := range a.requests() {
		for _, session := range append([]variables{nil}, a.sessions[number]...) {
			expected, err := definition.URL.Evaluate(known.with(session), a.allows)
			if err == nil && r.Method == definition.Method && isAt(r, expected) {
				return true
			}
		}
	}
	return false
}

// stepOf finds out which request of the definition a request is. The caller must hold a.mutex.
func (a *Account) stepOf(r *http.Request, body []byte) (found step, ok bool) {
	if a.rejected {
		return step{}, false
	}
	requests := a.requests()
	for number, definition := range requests {
		for _, session := range a.sessions[number] {
			candidates := []variables{a.values.with(session)}
			var expected expectations
			if number == len(requests)-1 {
				expected = a.clientExpectations()
				if jwt := a.method.TokenRequest.JWT; jwt != nil {
					candidates = a.withJWT(jwt, candidates[0], textsOf(r, body))
				}
			}
			for _, variables := range candidates {
				if a.isRequest(definition, r, body, variables, expected) {
					return step{number, variables}, true
				}
			}
		}
	}
	return step{}, false
}

// decideToken returns the answer to a request for a token.
func (a *Account) decideToken(r *http.Request, body []byte) answer {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	request := a.method.TokenRequest
	found, ok := a.stepOf(r, body)
	switch {
	case !ok:
		return refusal(request)
	case found.number < len(request.First):
		return a.begin(found)
	default:
		return a.issue(found)
	}
}

// refusal returns the answer with which the provider refuses a credential.
func refusal(request *catalog.TokenRequest) answer {
	if refused := request.Response.Refused; len(refused) > 0 {
		status := http.StatusOK
		if len(refused[0].Statuses) > 0 {
			status = refused[0].Statuses[0]
		}
		return answersTo(refused[0], status)[0]
	}
	return oauthError(http.StatusUnauthorized, "invalid_client", "The simulator does not recognise this token request.")
}

// begin answers a request that precedes the token request.
func (a *Account) begin(found step) answer {
	first := a.method.TokenRequest.First[found.number]
	session, sent := variables{}, tokenAnswer{}
	for name, location := range first.Values {
		variable := first.ID + "." + name
		session[variable] = a.newValue(variable)
		sent.put(location, session[variable])
	}
	next := &a.sessions[found.number+1]
	*next = append(*next, found.variables.with(session))
	*next = (*next)[max(0, len(*next)-maxSessions):]
	return sent.answer()
}

// issue answers a token request with a new token.
func (a *Account) issue(found step) answer {
	request, now := a.method.TokenRequest, a.clock.Now()
	if request.EndsPrevious {
		a.tokens = nil
	}
	issued := variables{catalog.TokenVariable: a.secrets.keep(randomToken(a.provider.ID, now, a.lifetime))}
	sent, response := tokenAnswer{}, request.Response
	sent.put(response.Token, issued[catalog.TokenVariable])
	for name, location := range response.Values {
		issued["response."+name] = a.secrets.keep(randomHex(16))
		sent.put(location, issued["response."+name])
	}
	switch {
	case response.ExpiresAt != nil:
		sent.put(*response.ExpiresAt, now.Add(a.lifetime).UTC().Format(time.RFC3339))
	case response.Lifetime != nil:
		sent.put(*response.Lifetime, int64(a.lifetime/response.LifetimeUnit))
	}
	if response.RefreshToken != nil {
		a.values = a.values.with(variables{catalog.RefreshTokenField: a.secrets.keep(randomHex(16))})
		sent.put(*response.RefreshToken, a.values[catalog.RefreshTokenField])
	}
	a.tokens = append(a.tokens, accountToken{found.variables.with(issued), now.Add(a.lifetime)})
	return sent.answer()
}
