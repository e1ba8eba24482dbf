// Package exchange records HTTP requests and their answers, and prints them for people, without the
// secrets of a credential.
package exchange

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// Exchange is a request and its answer. It contains secrets.
type Exchange struct {
	Request *http.Request
	Sent    []byte // the body of the request
	// Response is nil if no answer arrived, and Err is the reason. The body of Response must not be
	// read.
	Response *http.Response
	Err      error

	received bytes.Buffer
}

// Received returns what was read of the body of the answer.
func (e *Exchange) Received() []byte { return e.received.Bytes() }

// Recorder is an http.RoundTripper that sends requests by another one, and records them. It changes
// nothing, and reads no more of an answer than its caller.
type Recorder struct {
	next      http.RoundTripper
	lock      sync.Mutex
	exchanges []*Exchange
}

// NewRecorder returns a Recorder that sends requests by `next`.
func NewRecorder(next http.RoundTripper) *Recorder { return &Recorder{next: next} }

// RoundTrip sends a request, and records it.
func (r *Recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	e := &Exchange{Request: request.Clone(request.Context())}
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		if e.Sent, err = io.ReadAll(body); err != nil {
			return nil, err
		}
	}
	r.lock.Lock()
	r.exchanges = append(r.exchanges, e)
	r.lock.Unlock()
	e.Response, e.Err = r.next.RoundTrip(request)
	if e.Err != nil {
		return e.Response, e.Err
	}
	answer := *e.Response
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(e.Response.Body, &e.received), e.Response.Body}
	return &answer, nil
}

// Exchanges returns what was recorded, in order. Call it when all answers have been read.
func (r *Recorder) Exchanges() []*Exchange {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.exchanges
}
