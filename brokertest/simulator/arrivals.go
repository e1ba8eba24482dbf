package simulator

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// tokenTraffic counts the token requests of a TokenEndpoint or an Account, holds back their answers,
// and makes them fail. The zero value is ready to use.
type tokenTraffic struct {
	arrivals arrivals
	failures failures
}

// answer sends the answer that the function `decide` returns to a token request, unless a test has set
// a failure. It decides the outcome before it counts the request as arrived, so that a test that waits
// for the arrival cannot change the outcome afterwards. If a test has set a failure for the request,
// the outcome is decided after the arrival, when the failure runs.
func (e *tokenTraffic) answer(w http.ResponseWriter, r *http.Request, clientID string, decide func() answer) {
	failure := e.failures.take()
	genuine := sync.OnceValue(decide)
	if failure == nil {
		genuine()
	}
	held := &heldWriter{ResponseWriter: w, gone: r.Context().Done(), released: e.arrivals.add(clientID)}
	defer held.wait()
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { genuine().ServeHTTP(w, r) })
	ctx := context.WithValue(r.Context(), clientIDKey{}, clientID)
	failure.wrap(next).ServeHTTP(held, r.WithContext(ctx))
}

// TotalTokenRequests returns the number of token requests, including requests that failed or were
// refused.
func (e *tokenTraffic) TotalTokenRequests() int {
	total, _ := e.arrivals.state()
	return total
}

// TokenRequests returns the number of token requests from a client, including requests that
// failed or were refused. Requests without a client ID count for the client "".
func (e *TokenEndpoint) TokenRequests(clientID string) int { return e.arrivals.of(clientID) }

// AwaitTokenRequests waits until n token requests in total have arrived since the simulator was
// created. If ctx ends before that, it returns an error that wraps the error of ctx.
//
// The outcome of a token request is decided when the request arrives: unless a failure is set, the
// endpoint issues the token at that time, even if the answer is held back. Later calls of
// FailTokenRequests, HoldTokenAnswers and similar methods do not affect that request, but
// RevokeTokens revokes its token.
func (e *tokenTraffic) AwaitTokenRequests(ctx context.Context, n int) error {
	for {
		total, changed := e.arrivals.state()
		if total >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("simulator: %d of %d token requests have arrived: %w", total, n, ctx.Err())
		}
	}
}

// HoldTokenAnswers holds back the answers to all token requests that arrive from now on, including
// error answers, until the returned function is called. A client that closes its connection before
// that gets no answer. For each request, only the last call of HoldTokenAnswers before the
// request's arrival counts.
func (e *tokenTraffic) HoldTokenAnswers() (release func()) { return e.arrivals.hold() }

// FailTokenRequests makes every token request from now on fail, until RestoreTokenRequests is
// called or another failure is set.
func (e *tokenTraffic) FailTokenRequests(failure Failure) { e.failures.always(failure) }

// FailNextTokenRequests makes the next n token requests fail. If FailNextTokenRequests is called
// again, the new failure applies to the requests after these n. A failure set by FailTokenRequests
// applies only when no failure set by FailNextTokenRequests is left.
func (e *tokenTraffic) FailNextTokenRequests(n int, failure Failure) { e.failures.next(n, failure) }

// RestoreTokenRequests ends all failures of the endpoint.
func (e *tokenTraffic) RestoreTokenRequests() { e.failures.clear() }

// arrivals counts requests and holds back their answers. The zero value is ready to use.
type arrivals struct {
	mu      sync.Mutex
	clients map[string]int
	total   int
	changed chan struct{} // a channel that is closed when the next request arrives
	held    chan struct{} // a channel that is closed when the held answers may be sent; nil if answers are not held back
}

// add counts a request. The answer to the request may be sent when the returned channel is closed,
// or at once if the channel is nil.
func (a *arrivals) add(clientID string) (released <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clients == nil {
		a.clients = make(map[string]int)
	}
	a.clients[clientID]++
	a.total++
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
	return a.held
}

func (a *arrivals) of(clientID string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clients[clientID]
}

// state returns the number of received requests, and a channel that is closed when the next
// request arrives.
func (a *arrivals) state() (total int, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.total, a.changed
}

func (a *arrivals) hold() (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := make(chan struct{})
	a.held = held
	return sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.held == held {
			a.held = nil
		}
		close(held)
	})
}

// heldWriter is an http.ResponseWriter that sends nothing until it is released.
type heldWriter struct {
	http.ResponseWriter

	released <-chan struct{} // a channel that is closed when the answer may be sent; nil if it may be sent at once
	gone     <-chan struct{} // a channel that is closed when the client has closed its connection
}

// wait blocks until the answer may be sent. If the client closes its connection first, wait panics
// with http.ErrAbortHandler: a client that is closing its connection might still read an answer.
func (w *heldWriter) wait() {
	if w.released == nil {
		return
	}
	select {
	case <-w.released:
	case <-w.gone:
		panic(http.ErrAbortHandler)
	}
}

func (w *heldWriter) WriteHeader(status int) {
	w.wait()
	w.ResponseWriter.WriteHeader(status)
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.wait()
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush the wrapped writer.
func (w *heldWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
