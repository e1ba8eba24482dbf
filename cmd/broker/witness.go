package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// sighting is what was seen of the connections that failed. gRPC tells of them as text alone.
type sighting struct {
	mu      sync.Mutex
	failure error
	final   func() // called on a failure that trying again does not mend; may be nil
}

// note keeps the last failure, if possible one that says why. What this end has ended itself
// is none.
func (s *sighting) note(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	certain := explainHandshake(err) != nil
	if certain || explainHandshake(s.failure) == nil {
		s.failure = err
	}
	if certain && s.final != nil {
		s.final()
	}
}

// last is the last failure, or nil.
func (s *sighting) last() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// witness notes what becomes of connections until the broker says something.
type witness struct {
	credentials.TransportCredentials
	seen *sighting
}

// ClientHandshake implements credentials.TransportCredentials.
func (w witness) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		w.seen.note(err)
		return nil, nil, err
	}
	return &witnessedConn{Conn: conn, seen: w.seen}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (w witness) Clone() credentials.TransportCredentials {
	return witness{w.TransportCredentials.Clone(), w.seen}
}

// witnessedConn is a connection on which the broker may yet refuse the client's certificate:
// in TLS 1.3 it does so after the client's part of the handshake.
type witnessedConn struct {
	net.Conn
	seen     *sighting
	answered bool // of the one goroutine that reads
}

// Read implements net.Conn.
func (c *witnessedConn) Read(buffer []byte) (int, error) {
	n, err := c.Conn.Read(buffer)
	if !c.answered {
		if err == nil {
			err = checkFirst(buffer[:n])
		}
		if err != nil {
			c.seen.note(err)
		}
	}
	c.answered = c.answered || n > 0
	return n, err
}

// Errors of an end that is no gRPC server.
var (
	errSpeaksHTTP1 = errors.New("it answers with HTTP/1")
	errSpeaksTLS   = errors.New("it answers with TLS")
	errSpeaksOther = errors.New("it answers with something else than HTTP/2")
)

// checkFirst tells by the first bytes of the other end what it speaks, if not HTTP/2: that
// begins with a frame of settings (RFC 9113, 3.4).
func checkFirst(said []byte) error {
	const frameType, settings = 3, 4
	switch {
	case bytes.HasPrefix(said, []byte("HTTP/1")):
		return errSpeaksHTTP1
	case bytes.HasPrefix(said, []byte{21, 3}): // an alert
		return errSpeaksTLS
	case len(said) > frameType && said[frameType] != settings:
		return errSpeaksOther
	}
	return nil
}

// Write implements net.Conn. What the broker said before it went away may be there to read.
func (c *witnessedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	if err != nil {
		_ = c.SetReadDeadline(time.Now().Add(lastWords))
		if m, readErr := c.Conn.Read(make([]byte, 1)); m == 0 && readErr != nil {
			c.seen.note(readErr)
		}
	}
	return n, err
}

// lastWords is how long an ended connection is read.
const lastWords = 100 * time.Millisecond
