package hostiletest

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// variant is one way to run an attack: who the attackers are, and from how many addresses they
// connect.
type variant struct {
	name string
	// proved means that the attackers authenticate with the token of one caller. Otherwise they
	// do not authenticate.
	proved bool
	// connections is the number of connections for attacks that use few connections by default;
	// 0: the attack's default.
	connections int
	// addresses is the number of IP addresses from which the attackers connect.
	addresses int
	// allowance is how much more memory than at rest the broker may use, in bytes.
	allowance int64
	// always means that the variant also runs without BROKER_HOSTILE=all.
	always bool
}

const (
	unprovedAllowance = 128 << 20
	callerAllowance   = 256 << 20
)

var variants = []variant{
	{"unproved, 20 connections, one address", false, 0, 1, unprovedAllowance, false},
	{"unproved, 900 connections, one address", false, 900, 1, unprovedAllowance, false},
	{"unproved, 20 connections, many addresses", false, 0, 200, unprovedAllowance, true},
	{"unproved, 900 connections, many addresses", false, 900, 200, unprovedAllowance, false},
	{"one caller, 20 connections", true, 0, 1, callerAllowance, true},
	{"one caller, 900 connections", true, 900, 200, callerAllowance, false},
}

// attack runs hostile clients. An attack sends as much as it can and then returns. Its
// connections stay open until ctx ends.
type attack func(ctx context.Context, b *broker)

// withstand runs an attack against a broker over TLS, in each variant. During the attack the
// broker must answer a caller that follows the protocol, and the broker's memory must stay
// within its limit. After the attack the broker must return to its earlier number of goroutines.
func withstand(t *testing.T, attacking attack) {
	t.Helper()
	t.Parallel()
	for _, v := range variants {
		if !v.always && os.Getenv("BROKER_HOSTILE") != "all" {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			b := start(t, v)
			good := b.newCaller()
			rest, goroutines := b.atRest(good)
			good.begin()
			ctx, stop := context.WithCancel(t.Context())
			attacking(ctx, b)
			b.wantAnswers(good, 100)
			held := b.memory("VmRSS")
			peers := b.goroutines()
			stop()
			good.end(t)
			b.await("what the attack left goes", func() bool { return b.isBackAt(goroutines) })
			b.newCaller()
			most := b.memory("VmHWM")
			t.Logf("%d KiB at rest, and %d more at most, %d at the end of the attack with %d goroutines; %d good calls",
				rest>>10, (most-rest)>>10, (held-rest)>>10, peers, good.answered.Load())
			if most-rest > v.allowance {
				t.Errorf("the broker used %d MiB more than the %d MiB at rest, want at most %d MiB more", (most-rest)>>20, rest>>20, v.allowance>>20)
			}
		})
	}
}

// atRest returns the memory use and the number of goroutines of a broker after a few calls.
func (b *broker) atRest(good *caller) (memory int64, goroutines int) {
	b.Helper()
	for range 100 {
		if err := good.get(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	goroutines = b.goroutines()
	return b.memory("VmRSS"), goroutines
}

// isBackAt reports whether the broker has about as many goroutines as at rest. The number may
// differ a little, because a few goroutines come and go.
func (b *broker) isBackAt(rest int) bool {
	b.Helper()
	now := b.goroutines()
	return now > 0 && now <= rest+10
}

// wantAnswers waits until the broker has answered further calls of a caller.
func (b *broker) wantAnswers(good *caller, more int64) {
	b.Helper()
	want := good.answered.Load() + more
	b.await("good calls are answered", func() bool {
		select {
		case <-good.done:
			return true // if the calls failed, end reports the reason
		default:
			return good.answered.Load() >= want
		}
	})
}

// crowd runs a function n times concurrently, with numbers from 0, and returns when all calls of
// it have finished.
func crowd(n int, do func(i int)) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range min(n, 64) {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				do(i)
			}
		})
	}
	group.Wait()
}

// keep closes a connection when ctx ends.
func keep(ctx context.Context, conn interface{ Close() error }) {
	context.AfterFunc(ctx, func() { _ = conn.Close() })
}

// few is a number of connections. An attack with at most this number also runs with more
// connections.
const few = 50

// clients opens connections with the given HTTP/2 settings, and runs a function on each
// connection. Writes on these connections have a time limit.
func clients(ctx context.Context, b *broker, connections int, most time.Duration, do func(i int, c *rawClient), settings ...http2.Setting) {
	if b.variant.connections > 0 && 1 < connections && connections <= few {
		connections = b.variant.connections
	}
	crowd(connections, func(i int) {
		c, err := b.open(settings...)
		if err != nil {
			return // the broker's limit of connections is reached
		}
		keep(ctx, c)
		_ = c.SetWriteDeadline(time.Now().Add(most))
		do(i, c)
	})
}

// reading does the same as clients, but the connections also read the server's answers.
func reading(ctx context.Context, b *broker, connections int, do func(c *rawClient), settings ...http2.Setting) {
	clients(ctx, b, connections, 5*time.Second, func(_ int, c *rawClient) {
		go c.discard()
		do(c)
	}, settings...)
}
