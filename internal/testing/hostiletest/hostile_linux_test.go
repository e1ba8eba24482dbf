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

// variant determines who attacks, and from how many addresses.
type variant struct {
	name string
	// proved is true if the attackers authenticate, all with the same caller's token.
	proved bool
	// connections replaces the number of connections of an attack with few connections, unless it
	// is 0.
	connections int
	addresses   int
	// allowance is the memory, in bytes, that the broker may use in addition to its use at rest.
	allowance int64
	// `always` is true if the variant also runs without BROKER_HOSTILE=all, as withstand and
	// withstandUnproved describe.
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

// An attack sends as much as it can and returns. The connections of the attack stay open until ctx
// ends.
type attack func(ctx context.Context, b *broker)

// withstand runs an attack in each variant against a broker with TLS. The broker must answer a
// caller that does not attack, and stay within its memory limit. After the attack the broker must
// return to its earlier number of goroutines.
func withstand(t *testing.T, attacking attack) {
	t.Helper()
	withstandIn(t, func(v variant) bool { return v.always }, attacking)
}

// withstandUnproved is withstand for an attack that sends no token. For such an attack, the variants
// of a caller are repetitions, so they only run with BROKER_HOSTILE=all.
func withstandUnproved(t *testing.T, attacking attack) {
	t.Helper()
	withstandIn(t, func(v variant) bool { return v.always && !v.proved }, attacking)
}

// withstandIn runs an attack in the selected variants, or in all with BROKER_HOSTILE=all.
func withstandIn(t *testing.T, selected func(variant) bool, attacking attack) {
	t.Helper()
	t.Parallel()
	for _, v := range variants {
		if !selected(v) && os.Getenv("BROKER_HOSTILE") != "all" {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			b := start(t, v)
			good := b.firstCaller()
			rest, goroutines := b.atRest(good)
			good.begin()
			ctx, stop := context.WithCancel(t.Context())
			attacking(ctx, b)
			b.wantAnswers(good, 100)
			held := b.memory("VmRSS")
			peers := b.goroutines()
			stop()
			good.end(t)
			b.await("the number of goroutines is as low as before the attack", func() bool { return b.isBackAt(goroutines) })
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

// atRest returns the broker's memory use and number of goroutines after a few calls.
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

// isBackAt reports whether the broker has about as many goroutines as before the attack. A broker
// starts and ends a few goroutines at any time.
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
			return true // if the calls failed, `end` reports the reason
		default:
			return good.answered.Load() >= want
		}
	})
}

// crowd calls a function concurrently with the numbers from 0 to n-1, and returns when all calls
// have finished.
func crowd(n int, do func(i int)) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range min(n, 256) {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				do(i)
			}
		})
	}
	group.Wait()
}

func keep(ctx context.Context, conn interface{ Close() error }) {
	context.AfterFunc(ctx, func() { _ = conn.Close() })
}

// An attack that asks the function `clients` for 2 to `few` connections gets the number of
// connections of the variant, if the variant has one.
const few = 50

// clients opens connections, and calls a function for each. Writes on a connection fail after the
// duration `most`.
func clients(ctx context.Context, b *broker, connections int, most time.Duration, do func(i int, c *rawClient), settings ...http2.Setting) {
	if b.variant.connections > 0 && 1 < connections && connections <= few {
		connections = b.variant.connections
	}
	crowd(connections, func(i int) {
		c, err := b.open(settings...)
		if err != nil {
			return // the broker has reached its limit of connections
		}
		keep(ctx, c)
		_ = c.SetWriteDeadline(time.Now().Add(most))
		do(i, c)
	})
}

// `reading` opens connections as the function `clients` does, and also reads the server's answers.
func reading(ctx context.Context, b *broker, connections int, do func(c *rawClient), settings ...http2.Setting) {
	clients(ctx, b, connections, 5*time.Second, func(_ int, c *rawClient) {
		go c.discard()
		do(c)
	}, settings...)
}
