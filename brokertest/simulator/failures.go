package simulator

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Failure makes a provider's answers wrong or unusual. The parameter `next` of a Failure is the
// handler that answers as the healthy provider does. A Failure may call `next` once, or not at all.
// The Failure and `next` can both read the request's body.
//
// Pass a Failure to [TokenEndpoint.FailTokenRequests] or [API.FailAPIRequests], or to
// [TokenEndpoint.FailNextTokenRequests] or [API.FailNextAPIRequests].
//
// With [CloseConnection], [Hang], [CutAnswer] or [StallAnswer], the client gets no complete answer.
// [Simulator.Disconnect] makes the simulator refuse connections.
//
// [AnswerWith], [HTMLPage], [EmptyBody], [NotJSON], [OAuthError], [ErrorInSuccess],
// [ServiceUnavailable], [TooManyRequests], [Redirect] and [EchoRequest] send another answer instead
// of the provider's. The answers of [SendPulseForbidden], [SendPulseRateLimited] and
// [PulsediveRateLimited] are like those of the named vendor.
//
// [ChangeField], [RemoveField], [ExpiresIn], [AccessToken], [ContentType], [TruncateBody],
// [HugeBody], [SetCookie] and [RetryAfter] change the provider's answer.
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

// CloseConnection closes an HTTP/1.1 connection without an answer, or resets the stream of an
// HTTP/2 connection.
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

// `instead` returns a failure that calls the given handler, and not the provider's.
func instead(handler http.HandlerFunc) Failure {
	return func(http.Handler) http.Handler { return handler }
}

// changed returns a failure that passes the provider's answer to the function `send`, which sends
// it in another way.
func changed(send func(w http.ResponseWriter, r *http.Request, genuine answer)) Failure {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			send(w, r, record(next, r))
		})
	}
}

type failures struct {
	mu       sync.Mutex
	queue    []Failure // the failures of the next requests, one for each request
	standing Failure   // the failure of all later requests; nil if they do not fail
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

// take returns the failure of the request that has just arrived, or nil if the request does not
// fail.
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
