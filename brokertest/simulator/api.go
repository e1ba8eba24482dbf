package simulator

import (
	"net/http"
	"sync/atomic"
)

// API is a provider's API, apart from its token endpoint. An API counts its requests, and tests can
// make the requests fail.
type API struct {
	arrived    atomic.Int64
	recognised atomic.Int64
	failures   failures
}

// APIRequests returns the number of requests that arrived, including those that a test made fail.
func (a *API) APIRequests() int { return int(a.arrived.Load()) }

// RecognisedRequests returns the number of requests that the API authenticated as one of its
// accounts. Refused and anonymous requests do not count.
func (a *API) RecognisedRequests() int { return int(a.recognised.Load()) }

// FailAPIRequests makes every API request from now on fail, until RestoreAPIRequests is called or
// another failure is set.
func (a *API) FailAPIRequests(failure Failure) { a.failures.always(failure) }

// FailNextAPIRequests makes the next n API requests fail. If FailNextAPIRequests is called again,
// the new failure applies to the requests after these n. A failure set by FailAPIRequests applies
// only when no failure set by FailNextAPIRequests is left.
func (a *API) FailNextAPIRequests(n int, failure Failure) { a.failures.next(n, failure) }

// RestoreAPIRequests ends all failures of the API.
func (a *API) RestoreAPIRequests() { a.failures.clear() }

// handler sends the answer of the given function, which also reports whether the request was
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
