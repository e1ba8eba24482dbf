package simulator

import (
	"net/http"
	"sync/atomic"
)

// API is a provider's API, apart from its token endpoint. It counts its requests and can be made to
// fail.
type API struct {
	arrived    atomic.Int64
	recognised atomic.Int64
	failures   failures
}

// APIRequests returns the number of requests received, failed ones included.
func (a *API) APIRequests() int { return int(a.arrived.Load()) }

// RecognisedRequests returns the number of requests that were authenticated as an account, neither
// refused nor anonymous.
func (a *API) RecognisedRequests() int { return int(a.recognised.Load()) }

// FailAPIRequests makes every request fail from now on, until RestoreAPIRequests or another failure
// replaces it.
func (a *API) FailAPIRequests(failure Failure) { a.failures.always(failure) }

// FailNextAPIRequests makes the next n requests fail, after those of earlier calls, and before
// FailAPIRequests applies.
func (a *API) FailNextAPIRequests(n int, failure Failure) { a.failures.next(n, failure) }

// RestoreAPIRequests ends all failures of the API.
func (a *API) RestoreAPIRequests() { a.failures.clear() }

// handler serves requests with the answers of decide, which also reports whether the request was
// authenticated.
func (a *API) handler(decide func(*http.Request) (answer, bool)) http.Handler {
	genuine := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decision, recognised := decide(r)
		if recognised {
			a.recognised.Add(1)
		}
		decision.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		failure := a.failures.take()
		a.arrived.Add(1)
		failure.wrap(genuine).ServeHTTP(w, r)
	})
}
