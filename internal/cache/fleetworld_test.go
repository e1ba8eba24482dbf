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

type fleet struct {
	*world
	shared  *sharedStore
	links   []*link
	changed []*atomic.Int64 // for each replica, how often its Options.Changed was called
	// beforeMatching, if it is set, runs once before a reported version is compared with a token.
	beforeMatching atomic.Pointer[func()]
}

// inFleet runs a test with simulated time. Changes in the Store reach the other replicas after 1
// ms.
func inFleet(t *testing.T, replicas int, test func(*fleet)) {
	t.Helper()
	inBubble(t, 0, func(w *world) {
		f := &fleet{world: w, shared: newSharedStore(clockwork.NewRealClock())}
		f.shared.newsDelay = time.Millisecond
		for range replicas {
			f.join()
		}
		synctest.Wait() // waits until all replicas follow the Store
		test(f)
	})
}

func (f *fleet) join() {
	changed := new(atomic.Int64)
	link := f.shared.connect()
	jitter := float64(len(f.fleet)%8) / 7
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

func (f *fleet) all(state linkState) {
	for _, l := range f.links {
		l.become(state)
	}
}

func (f *fleet) at(i int) (string, error) { return f.getFrom(f.Context(), f.fleet[i]) }

func (f *fleet) wantAt(value string, replicas ...int) {
	f.Helper()
	for _, i := range replicas {
		if got, err := f.at(i); err != nil || got != value {
			f.Errorf("after %v replica %d serves token %q, error %v; want token %q", f.elapsed(), i, got, err, value)
		}
	}
}

func (f *fleet) wantEverywhere(value string) {
	f.Helper()
	for i := range f.fleet {
		f.wantAt(value, i)
	}
}

func (f *fleet) wantStored(value string) {
	f.Helper()
	if got := f.shared.stored(f.provider.TokenKey()); got != value {
		f.Errorf("after %v the Store has %q, want %q", f.elapsed(), got, value)
	}
}

func (f *fleet) wantReportAt(i int, value, want string) {
	f.Helper()
	if got, _, err := f.reportTo(f.fleet[i], value); err != nil || got != want {
		f.Errorf("after %v the report of token %q to replica %d is answered with token %q, error %v; want token %q", f.elapsed(), value, i, got, err, want)
	}
}

// wantReads checks how often a replica has read the Store since the last call of wantReads, and
// that it has not written to the Store.
func (f *fleet) wantReads(i, want int) {
	f.Helper()
	synctest.Wait()
	if reads, writes := f.links[i].reads.Swap(0), f.links[i].writes.Swap(0); reads != int64(want) || writes != 0 {
		f.Errorf("after %v replica %d made %d reads and %d writes of the Store, want %d reads and no writes", f.elapsed(), i, reads, writes, want)
	}
}

// forgetTrips resets the counts that wantReads checks.
func (f *fleet) forgetTrips() {
	for _, l := range f.links {
		l.reads.Store(0)
		l.writes.Store(0)
	}
}

func (f *fleet) versions(key string, t *token.Token) []string {
	if before := f.beforeMatching.Swap(nil); before != nil {
		(*before)()
	}
	return versionsOf(key, t)
}

func (f *fleet) within(limit time.Duration, do func()) {
	f.Helper()
	began := f.elapsed()
	do()
	if took := f.elapsed() - began; took > limit {
		f.Errorf("the calls took %v, want %v at most", took, limit)
	}
}

func (f *fleet) caller(patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.Context(), patience)
}
