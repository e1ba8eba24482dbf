package server

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// held is what one connection has the broker keep in memory, in bytes: calls that have not
// ended, what was received of them, and answers that were not sent.
type held struct {
	shares *shares[origins]
	from   origins

	calls atomic.Int64 // that have not ended
	goes  atomic.Bool  // that the bytes leave is known to the shares
	close func()

	mu    sync.Mutex // for writing bytes
	bytes atomic.Int64
	ended bool
}

// origins are what calls and memory have shares of: a source or, where that is not known, a
// connection.
type origins struct {
	connection *held
	source     source
}

func newHeld(of *shares[origins], from source) *held {
	h := &held{shares: of, from: origins{source: from}}
	if from == (source{}) {
		h.from.connection = h
	}
	return h
}

// take says whether there is room for more, and counts it. Then give has to follow, or end.
func (h *held) take(bytes int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || !h.shares.enter(h.from, bytes) {
		return false
	}
	h.bytes.Add(int64(bytes))
	return true
}

func (h *held) give(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.bytes.Add(int64(-bytes))
		h.shares.leave(h.from, bytes)
	}
}

// enter says whether there is room for one more call, and counts it. Then leave has to follow.
func (h *held) enter(atOnce *shares[origins]) bool {
	if !atOnce.enter(h.from, 1) {
		return false
	}
	h.calls.Add(1)
	return true
}

func (h *held) leave(atOnce *shares[origins]) {
	h.calls.Add(-1)
	atOnce.leave(h.from, 1)
}

// lag is how long what a client has left may stay in memory: calls that it took back, or whose
// connection is gone, end by themselves.
const lag = time.Second

// giveLater gives back what a client has left.
func (h *held) giveLater(bytes int) { time.AfterFunc(lag, func() { h.give(bytes) }) }

// end gives all back, for good. From now on there is room for nothing.
func (h *held) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.ended = true
	switch rest := int(h.bytes.Load()); {
	case rest == 0:
	case h.goes.Load():
		time.AfterFunc(lag, func() { h.shares.leave(h.from, rest) })
	default:
		h.shares.leaveLater(h.from, rest)
	}
}

// cutOff closes the connection.
func (h *held) cutOff() {
	if h.close != nil {
		go h.close() // whoever wants that holds locks
	}
}

// heldInfo is what is known of a connection, with what it holds.
type heldInfo struct {
	credentials.AuthInfo
	held *held
}

// holderOf returns what a call's connection holds.
func holderOf(ctx context.Context) *held {
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(heldInfo); ok {
			return info.held
		}
	}
	return &held{ended: true} // only in a test without a connection
}

// heldBy returns what a connection holds.
func heldBy(conn net.Conn) *held {
	if limited, ok := conn.(*limitedConn); ok {
		return limited.held
	}
	return &held{ended: true}
}
