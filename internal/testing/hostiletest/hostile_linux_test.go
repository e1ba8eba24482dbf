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

// variant describes the attackers and their addresses.
type variant struct {
	name string
	// proved attackers use the token of one caller. The others do not authenticate.
	proved bool
	// connections is the number of connections of an attack that names only a few; 0: the number
	// that it names.
	connections int
	// addresses is the number of addresses from which the connections come.
	addresses int
	// allowance is how much more memory than at rest the broker may use, in bytes.
	allowance int64
	// always makes the variant run also without BROKER_HOSTILE=all.
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

// attack runs hostile clients. It sends as much as it can, and then returns; its connections
// stay open until ctx ends.
type attack func(ctx context.Context, b *broker)

// withstand attacks a broker over TLS. During the attack a good caller must be answered, and
// memory must stay within its limit. Afterwards the broker must return to its earlier state.
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
				t.Errorf("the broker took %d MiB more than the %d MiB at rest, which is more than %d", (most-rest)>>20, rest>>20, v.allowance>>20)
			}
		})
	}
}

// atRest returns memory and goroutines of a broker that has handled a few calls.
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

// isBackAt reports whether the broker has as many goroutines as at rest. A few come and go.
func (b *broker) isBackAt(rest int) bool {
	b.Helper()
	now := b.goroutines()
	return now > 0 && now <= rest+10
}

// wantAnswers waits until a caller has received more answers.
func (b *broker) wantAnswers(good *caller, more int64) {
	b.Helper()
	want := good.answered.Load() + more
	b.await("good calls are answered", func() bool {
		select {
		case <-good.done:
			return true // end reports the reason
		default:
			return good.answered.Load() >= want
		}
	})
}

// crowd runs n clients concurrently, each with its number, and returns when all have finished.
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

// few is the number of connections up to which an attack also runs with more.
const few = 50

// clients opens connections, with HTTP/2 settings of the attack, and runs a function on each.
// Their writes time out.
func clients(ctx context.Context, b *broker, connections int, most time.Duration, do func(i int, c *rawClient), settings ...http2.Setting) {
	if b.variant.connections > 0 && 1 < connections && connections <= few {
		connections = b.variant.connections
	}
	crowd(connections, func(i int) {
		c, err := b.open(settings...)
		if err != nil {
			return // the limit of connections is reached
		}
		keep(ctx, c)
		_ = c.SetWriteDeadline(time.Now().Add(most))
		do(i, c)
	})
}

// reading runs clients that read the server's answers.
func reading(ctx context.Context, b *broker, connections int, do func(c *rawClient), settings ...http2.Setting) {
	clients(ctx, b, connections, 5*time.Second, func(_ int, c *rawClient) {
		go c.discard()
		do(c)
	}, settings...)
}
