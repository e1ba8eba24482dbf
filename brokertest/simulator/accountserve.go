package simulator

import (
	"net/http"
	"slices"
	"strings"
)

// target is what a request to an account is.
type target int

const (
	otherRequest target = iota
	apiCall
	tokenCall
)

// simulate adds a handler of a provider that is simulated by code of this package. An account that
// recognises a request takes precedence.
func (s *Simulator) simulate(pattern string, handler http.Handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if account, at, recognised := s.accountOf(r); recognised {
			account.serve(w, r, at)
		} else {
			handler.ServeHTTP(w, r)
		}
	})
}

// serve answers a request by the handler for its URL or, without such a handler, by an account.
func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern == "" {
		if account, at, _ := s.accountOf(r); account != nil {
			account.serve(w, r, at)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// accountOf returns the account that recognises a request. If there is none, it returns the account that
// the request resembles most, or nil. If several accounts are equal in this, it returns the newest.
func (s *Simulator) accountOf(r *http.Request) (found *Account, at target, recognised bool) {
	s.defined.mutex.RLock()
	accounts := slices.Clone(s.defined.accounts)
	s.defined.mutex.RUnlock()
	most := 0
	for _, account := range accounts {
		is, recognised := account.inspect(r)
		if recognised {
			return account, is, true
		}
		if resembles := account.resembles(r, is); resembles > 0 && resembles >= most {
			found, at, most = account, is, resembles
		}
	}
	return found, at, false
}

// resembles returns how much a request that the account does not recognise resembles one of its requests,
// from 0 for a URL that the account does not have.
func (a *Account) resembles(r *http.Request, at target) int {
	switch {
	case at == otherRequest:
		return 0
	case at == tokenCall:
		return 4
	case a.isVerification(r):
		return 3
	case a.hasNames(r):
		return 2
	default:
		return 1
	}
}

// inspect returns what a request is for the account, and whether the account recognises the request.
func (a *Account) inspect(r *http.Request) (at target, recognised bool) {
	switch {
	case a.isTokenURL(r):
		a.mutex.Lock()
		defer a.mutex.Unlock()
		_, recognised = a.stepOf(r, peekBody(r))
		return tokenCall, recognised
	case slices.Contains(a.hosts, hostOf(r)):
		return apiCall, a.Accepts(r)
	default:
		return otherRequest, false
	}
}

func (a *Account) serve(w http.ResponseWriter, r *http.Request, at target) {
	if len(a.certificates()) > 0 {
		w.Header().Set("Connection", "close") // another request may need another client certificate
	}
	if at == tokenCall {
		body := peekBody(r)
		a.answer(w, r, a.Values()["client_id"], func() answer { return a.decideToken(r, body) })
		return
	}
	a.handler(a.decideCall).ServeHTTP(w, r)
}

// hostOf returns the host of a request in the form that allowed_hosts has.
func hostOf(r *http.Request) string { return strings.TrimSuffix(strings.ToLower(r.Host), ":443") }

// hostname returns a host without its port.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}
