package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// The body of a response that rejects the material is read to its end, so that the connection can
// be used again, if it has at most maxDrain bytes.
const maxDrain = 4 << 10

type transport struct {
	credential *credential
	base       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	now := t.credential.client.now()
	p, err := t.credential.get(request.Context(), now)
	var decorated *http.Request
	if err == nil {
		decorated, err = p.decorate(request)
	}
	if err != nil {
		if request.Response != nil && errors.Is(err, ErrHostNotAllowed) { // an http.Client follows a redirect
			return t.send(request, p.without(request), p)
		}
		if request.Body != nil { // an http.RoundTripper must close the request's body
			_ = request.Body.Close()
		}
		return nil, err
	}
	t.credential.use(p, now)
	response, err := t.send(request, decorated, p)
	if err != nil || !Rejected(response, p.decoration) {
		return response, err
	}
	successor := t.credential.reject(request.Context(), p, response.StatusCode)
	again := repeat(request, successor)
	if again == nil {
		return response, nil
	}
	if response.ContentLength >= 0 && response.ContentLength <= maxDrain { // the body is not read if its length is unknown, because it may never end
		_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)
	}
	_ = response.Body.Close()
	t.credential.use(successor, t.credential.client.now())
	return t.send(request, again, successor)
}

// Format implements fmt.Formatter, as Client.Format does.
func (t *transport) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "client.Transport") }

// CloseIdleConnections closes the idle connections of the base transport, for the method
// CloseIdleConnections of http.Client.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// send sends a copy of a request, and removes the material from the response. send removes the URL
// from errors, because errors of a RoundTripper that uses an http.Client contain the URL with the
// material.
func (t *transport) send(original, sent *http.Request, p *prepared) (*http.Response, error) {
	response, err := t.base.RoundTrip(sent)
	if err != nil {
		for wrapped := (*url.Error)(nil); errors.As(err, &wrapped); {
			err = wrapped.Err
		}
		return nil, err
	}
	response.Request = original
	cleanLocation(response.Header, original.URL, p.decoration)
	return response, nil
}

// `repeat` returns a copy of a request for a second attempt, with a new decoration and with its
// body read from the beginning again. `repeat` returns nil if there is no new decoration, if the
// request must not get it, or if the body cannot be sent again.
func repeat(request *http.Request, successor *prepared) *http.Request {
	if successor == nil {
		return nil
	}
	again, err := successor.decorate(request)
	if err != nil || request.Body == nil || request.Body == http.NoBody {
		return again
	}
	if request.GetBody == nil {
		return nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil
	}
	again.Body = body
	return again
}
