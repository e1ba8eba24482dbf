package simulator

import (
	"net/http"
	"sync/atomic"
)

// API is what a provider offers beside tokens. It counts its requests and can be
// made to fail.
type API struct {
	arrived    atomic.Int64
	recognised atomic.Int64
	failures   failures
}

// APIRequests returns how many requests have arrived, failed ones too.
func (a *API) APIRequests() int { return int(a.arrived.Load()) }

// RecognisedRequests returns how many requests were answered as those of an account,
// neither refused nor anonymous.
func (a *API) RecognisedRequests() int { return int(a.recognised.Load()) }

// FailAPIRequests has every request fail from now on, until RestoreAPIRequests or
// another failure takes its place.
func (a *API) FailAPIRequests(failure Failure) { a.failures.always(failure) }

// FailNextAPIRequests has the next n requests fail, after those of earlier calls,
// and before FailAPIRequests has a say.
func (a *API) FailNextAPIRequests(n int, failure Failure) { a.failures.next(n, failure) }

// RestoreAPIRequests ends all failures of the API.
func (a *API) RestoreAPIRequests() { a.failures.clear() }

// handler serves requests as decide says: with an answer, and whether it was one to
// an account.
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
