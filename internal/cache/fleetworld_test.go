package cache_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// A fleet is a simulated fleet of replicas, which share a Store on a simulated network.
type fleet struct {
	*world
	shared  *sharedStore
	links   []*link
	changed []*atomic.Int64 // for each replica: how often its Options.Changed was called
	// beforeMatching runs once, before a reported version is compared with a
	// token. If the function `beforeMatching` is nil, no function runs.
	beforeMatching atomic.Pointer[func()]
}

// inFleet runs a test with simulated time and with a fleet of the given size. News reaches the
// other replicas after 1 ms.
func inFleet(t *testing.T, replicas int, test func(*fleet)) {
	t.Helper()
	inBubble(t, 0, func(w *world) {
		f := &fleet{world: w, shared: newSharedStore(clockwork.NewRealClock())}
		f.shared.newsDelay = time.Millisecond
		for range replicas {
			f.join()
		}
		synctest.Wait() // until all replicas follow the Store
		test(f)
	})
}

// join adds a replica to the fleet.
func (f *fleet) join() {
	changed := new(atomic.Int64)
	link := f.shared.connect()
	jitter := float64(len(f.fleet)%8) / 7 // the jitter of this replica
	f.fleet = append(f.fleet, cache.New(cache.Options{
		Store:    link,
		Random:   func() float64 { return jitter },
		Logger:   slog.New(slog.DiscardHandler),
		Versions: f.versions,
		Changed:  func(string) { changed.Add(1) },
	}))
	f.links = append(f.links, link)
	f.changed = append(f.changed, changed)
}

// all gives every replica's link to the Store the same state.
func (f *fleet) all(state linkState) {
	for _, l := range f.links {
		l.become(state)
	}
}

// at asks one replica for a token, as a caller without a deadline does.
func (f *fleet) at(i int) (string, error) { return f.getFrom(f.Context(), f.fleet[i]) }

// wantAt asks some replicas for a token, and compares the tokens that they serve.
func (f *fleet) wantAt(value string, replicas ...int) {
	f.Helper()
	for _, i := range replicas {
		if got, err := f.at(i); err != nil || got != value {
			f.Errorf("after %v replica %d serves token %q, error %v; want token %q", f.elapsed(), i, got, err, value)
		}
	}
}

// wantEverywhere asks every replica for a token, and compares the tokens that they serve.
func (f *fleet) wantEverywhere(value string) {
	f.Helper()
	for i := range f.fleet {
		f.wantAt(value, i)
	}
}

// wantStored compares the token in the Store with an expected token.
func (f *fleet) wantStored(value string) {
	f.Helper()
	if got := f.shared.stored(f.provider.TokenKey()); got != value {
		f.Errorf("after %v the Store has %q, want %q", f.elapsed(), got, value)
	}
}

// wantReportAt reports a token to a replica, and compares the replica's answer with
// the expected token.
func (f *fleet) wantReportAt(i int, value, want string) {
	f.Helper()
	if got, _, err := f.reportTo(f.fleet[i], value); err != nil || got != want {
		f.Errorf("after %v the report of token %q to replica %d is answered with token %q, error %v; want token %q", f.elapsed(), value, i, got, err, want)
	}
}

// wantReads checks how often a replica has read the Store since the last call of wantReads, and
// that the replica has not written to the Store.
func (f *fleet) wantReads(i, want int) {
	f.Helper()
	synctest.Wait()
	if reads, writes := f.links[i].reads.Swap(0), f.links[i].writes.Swap(0); reads != int64(want) || writes != 0 {
		f.Errorf("after %v replica %d made %d reads and %d writes of the Store, want %d reads and no writes", f.elapsed(), i, reads, writes, want)
	}
}

// forgetTrips sets the numbers of reads and writes that wantReads checks to zero.
func (f *fleet) forgetTrips() {
	for _, l := range f.links {
		l.reads.Store(0)
		l.writes.Store(0)
	}
}

// versions runs the function `beforeMatching`, if there is one, and then calls
// versionsOf.
func (f *fleet) versions(key string, t *token.Token) []string {
	if before := f.beforeMatching.Swap(nil); before != nil {
		(*before)()
	}
	return versionsOf(key, t)
}

// within checks that a function takes no longer than a time limit.
func (f *fleet) within(limit time.Duration, do func()) {
	f.Helper()
	began := f.elapsed()
	do()
	if took := f.elapsed() - began; took > limit {
		f.Errorf("the calls took %v, want %v at most", took, limit)
	}
}

// caller returns a context that ends soon.
func (f *fleet) caller(patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.Context(), patience)
}
