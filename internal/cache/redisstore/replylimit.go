package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// Bounds on one reply of Redis. go-redis allocates what a reply announces before it has
// arrived, so the bounds apply to announced lengths. The largest replies that the broker asks
// for are 1,000 events of the stream (about 350 KiB) and the two entries of one name.
const (
	// maxEntry bounds an entry, in bytes. A token of 64 KiB takes up to six times as much,
	// because JSON escapes some characters. Scripts take a larger entry for an empty one.
	maxEntry = 512 << 10
	// maxReply bounds what a reply makes go-redis allocate, in bytes.
	maxReply = 2 << 20
	// elementCost is what one element of an array costs in memory, in bytes: the slot in the
	// slice, and the header of the value in it.
	elementCost = 32
	// maxLine bounds the first line of a reply, or the whole of a simple one, in bytes.
	maxLine = 1 << 10
)

// errReplyLimit is returned when a reply is larger than maxReply, or is malformed.
var errReplyLimit = errors.New("the reply of Redis exceeds the limit, or is malformed")

// dialer returns a function that connects, and bounds the replies on the connection.
func dialer(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: refreshTimeout}
	dial := plain.DialContext
	if config != nil {
		dial = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		limited := &limitedConn{Conn: conn}
		if raw, ok := conn.(syscall.Conn); ok {
			return struct {
				*limitedConn
				syscall.Conn
			}{limited, raw}, nil // go-redis peeks at the socket to find closed connections
		}
		return limited, nil
	}
}

// limitedConn is a connection whose replies are bounded.
type limitedConn struct {
	net.Conn
	replies replyLimit
}

// Read fails with errReplyLimit as soon as a reply announces too much.
func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if limit := c.replies.scan(p[:n]); limit != nil {
		return 0, limit
	}
	return n, err
}

// replyLimit bounds a stream of replies (RESP, versions 2 and 3). It reads the first line of each
// value, which announces the length, and skips the rest. The zero value is at the start of a
// reply.
type replyLimit struct {
	line    []byte // what has arrived of the current line
	skip    int    // how many bytes of a bulk string, with its line end, are still to come
	pending int    // how many elements of the reply are still to come after the current one
	cost    int    // of the reply so far
	broken  bool
}

// scan takes the next bytes of the stream into account.
func (l *replyLimit) scan(p []byte) error {
	for len(p) > 0 && !l.broken {
		if l.skip > 0 {
			n := min(l.skip, len(p))
			l.skip -= n
			p = p[n:]
			if l.skip == 0 {
				l.endValue()
			}
			continue
		}
		l.line = append(l.line, p[0])
		switch {
		case p[0] == '\n':
			l.broken = !l.endLine()
		case len(l.line) >= maxLine:
			l.broken = true
		}
		p = p[1:]
	}
	if l.broken {
		return errReplyLimit
	}
	return nil
}

// endLine reads the line that has just ended. It reports whether the reply is within its
// bounds.
func (l *replyLimit) endLine() bool {
	line := l.line
	l.line = l.line[:0]
	l.cost += len(line)
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return false
	}
	length, ok := announced(line[1 : len(line)-2])
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		ok = true
		l.endValue()
	case '$', '!', '=':
		l.beginString(length)
	case '*', '~', '>':
		l.beginElements(length)
	case '%':
		l.beginElements(2 * length)
	case '|':
		l.pending++ // attributes come before a value, and are not one
		l.beginElements(2 * length)
	default:
		return false
	}
	return ok && l.cost <= maxReply
}

// beginString is called at the start of a string; its length is negative for nil.
func (l *replyLimit) beginString(length int) {
	if length < 0 {
		l.endValue()
		return
	}
	l.skip = length + len("\r\n")
	l.cost += length
}

// beginElements is called at the start of an array of so many elements. The first of them is
// the current value then.
func (l *replyLimit) beginElements(count int) {
	if count <= 0 {
		l.endValue()
		return
	}
	l.pending += count - 1
	l.cost += count * elementCost
}

// endValue is called at the end of a value. The reply ends with its last value.
func (l *replyLimit) endValue() {
	if l.pending--; l.pending < 0 {
		l.pending, l.cost = 0, 0
	}
}

// announced returns the length in a reply. It is at most maxReply; -1 stands for nil.
func announced(digits []byte) (length int, ok bool) {
	if string(digits) == "-1" {
		return -1, true
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		if length = 10*length + int(d-'0'); length > maxReply {
			return 0, false
		}
	}
	return length, len(digits) > 0
}
