package simulator

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Failure makes a provider's answers wrong or unusual. Its parameter `next` is the handler that
// answers as the healthy provider does. A Failure may call `next` once, or not at all. The
// Failure and `next` can both read the request's body.
//
// Pass a Failure to [TokenEndpoint.FailTokenRequests] or [API.FailAPIRequests], or to their
// variants for the next n requests. This package has three groups of failures:
//
//   - no complete answer: [CloseConnection], [Hang], [CutAnswer], [StallAnswer], and for
//     a connection that is refused, [Simulator.Disconnect];
//   - an answer instead of the provider's: [AnswerWith], [HTMLPage], [EmptyBody],
//     [NotJSON], [OAuthError], [ErrorInSuccess], [ServiceUnavailable],
//     [TooManyRequests], [Redirect], [EchoRequest], and with a vendor's own text
//     [SendPulseForbidden], [SendPulseRateLimited], [PulsediveRateLimited];
//   - the provider's answer, changed: [ChangeField], [RemoveField], [ExpiresIn],
//     [AccessToken], [ContentType], [TruncateBody], [HugeBody], [SetCookie], [RetryAfter].
type Failure func(next http.Handler) http.Handler

// wrap applies the failure to a handler; a nil failure changes nothing.
func (f Failure) wrap(next http.Handler) http.Handler {
	if f == nil {
		return next
	}
	return f(next)
}

// ForClient limits a failure of a token endpoint to the requests of one client.
func ForClient(clientID string, failure Failure) Failure {
	return func(next http.Handler) http.Handler {
		failing := failure.wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(clientIDKey{}) == clientID {
				failing.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// CloseConnection closes the connection without an answer, or resets the stream over HTTP/2.
func CloseConnection() Failure {
	return instead(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Hang sends no answer and keeps the connection open until the client closes it or the simulator
// is closed.
func Hang() Failure { return instead(func(_ http.ResponseWriter, r *http.Request) { hang(r) }) }

// CutAnswer sends the header and half the body of the provider's answer, and closes the
// connection.
func CutAnswer() Failure {
	return changed(func(w http.ResponseWriter, _ *http.Request, genuine answer) {
		genuine.writeHalf(w)
		panic(http.ErrAbortHandler)
	})
}

// StallAnswer sends the header and half the body of the provider's answer, and keeps the
// connection open until the client closes it or the simulator is closed.
func StallAnswer() Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		genuine.writeHalf(w)
		hang(r)
	})
}

// hang waits until the client has closed the connection, which the server notices only after it
// has read the request's body.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// writeHalf sends the answer's header, with the length of the complete body, and half of the
// body.
func (a answer) writeHalf(w http.ResponseWriter) {
	a.with("Content-Length", strconv.Itoa(len(a.body))).writeHeader(w)
	_, _ = io.WriteString(w, a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
}

// The failure answers without calling the provider's handler.
func instead(handler http.HandlerFunc) Failure {
	return func(http.Handler) http.Handler { return handler }
}

// The failure changes how the provider's answer is sent.
func changed(send func(w http.ResponseWriter, r *http.Request, genuine answer)) Failure {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			send(w, r, record(next, r))
		})
	}
}

type failures struct {
	mu       sync.Mutex
	queue    []Failure // one failure for each of the next requests
	standing Failure   // for all later requests; nil if they do not fail
}

func (f *failures) always(failure Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.standing = failure
}

func (f *failures) next(n int, failure Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, slices.Repeat([]Failure{failure}, n)...)
}

func (f *failures) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue, f.standing = nil, nil
}

// If the request that has just arrived does not fail, the failure is nil.
func (f *failures) take() Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return f.standing
	}
	failure := f.queue[0]
	f.queue = f.queue[1:]
	return failure
}
