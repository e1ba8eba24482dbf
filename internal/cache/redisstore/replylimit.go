package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// These constants limit the size of one reply of Redis. A reply announces the length of each value
// before the value arrives, and go-redis then allocates memory for that length. So the limits apply
// to announced lengths, not to received bytes. The largest replies that the broker requests are
// 1,000 events of the stream (about 350 KiB), and a script's reply with a token and a failure.
const (
	// maxEntry is the size limit of an entry, in bytes. The entry of a 64 KiB token is up to six
	// times as large as the token, because JSON escapes some characters. Scripts treat a larger
	// entry as an empty one.
	maxEntry = 512 << 10
	// maxReply is the maximum number of bytes that go-redis allocates for one reply.
	maxReply = 2 << 20
	// elementCost is the memory for one element of an array, in bytes: its slot in the slice, and
	// the header of its value.
	elementCost = 32
	// maxLine is the size limit of the first line of a value in a reply, in bytes.
	maxLine = 1 << 10
)

var errReplyLimit = errors.New("the reply of Redis exceeds the limit, or is malformed")

// dialer returns a function that opens a connection on which the size of replies is limited.
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
			}{limited, raw}, nil // go-redis looks at the socket to find closed connections
		}
		return limited, nil
	}
}

type limitedConn struct {
	net.Conn
	replies replyLimit
}

// Read fails with errReplyLimit as soon as a reply announces more than maxReply bytes.
func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if limit := c.replies.scan(p[:n]); limit != nil {
		return 0, limit
	}
	return n, err
}

// A replyLimit checks the size of each reply in a stream of replies (RESP, versions 2 and 3). A
// replyLimit reads the first line of each value, which announces the value's length, and skips the
// rest of the value. The zero value is ready for the start of a reply.
type replyLimit struct {
	line    []byte // the part of the current line that has arrived
	skip    int    // number of bytes still to skip: the rest of a string, with its line end
	pending int    // number of elements of the reply that follow the current element
	cost    int    // memory that the reply needs so far, in bytes
	broken  bool
}

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

// endLine checks the line that has just ended, and reports whether the reply is within the limits.
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
		l.pending++ // attributes precede a value, and do not count as a value
		l.beginElements(2 * length)
	default:
		return false
	}
	return ok && l.cost <= maxReply
}

// beginString is called at the start of a string. The length of a nil string is negative.
func (l *replyLimit) beginString(length int) {
	if length < 0 {
		l.endValue()
		return
	}
	l.skip = length + len("\r\n")
	l.cost += length
}

// beginElements is called at the start of an array with the given number of elements. After the
// call, the first element is the current value.
func (l *replyLimit) beginElements(count int) {
	if count <= 0 {
		l.endValue()
		return
	}
	l.pending += count - 1
	l.cost += count * elementCost
}

// endValue is called at the end of a value, which may also be the end of the reply.
func (l *replyLimit) endValue() {
	if l.pending--; l.pending < 0 {
		l.pending, l.cost = 0, 0
	}
}

// announced returns the length that the first line of a value announces: at most maxReply, or -1
// for a nil value.
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
