package server

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// held is what one connection has the broker keep in memory, in bytes: calls that have not
// ended, what was received of them, and answers that were not sent.
type held struct {
	shares *shares[origins]
	from   origins

	mu    sync.Mutex
	bytes int
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
	h.bytes += bytes
	return true
}

func (h *held) give(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.bytes -= bytes
		h.shares.leave(h.from, bytes)
	}
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
	if rest := h.bytes; rest > 0 {
		time.AfterFunc(lag, func() { h.shares.leave(h.from, rest) })
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
