package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/credentials"
)

func (w *world) call(caller, id string, times int) {
	w.Helper()
	for range times {
		w.material(named(caller), id)
	}
}

func (w *world) wantUses(id string, want ...broker.Use) {
	w.Helper()
	all, _ := w.broker.Uses(id)
	if !slices.EqualFunc(all, want, func(a, b broker.Use) bool {
		return a.CredentialID == id && a.Caller == b.Caller && a.Version == b.Version && a.Minute.Equal(b.Minute) && a.Count == b.Count
	}) {
		w.Errorf("the uses of %s are %+v, want %+v", id, all, want)
	}
}

func TestUsesAreCountedByCallerAndVersion(t *testing.T) {
	inWorld(t, func(w *world) {
		one, two := key("one", 1, "a"), key("one", 2, "b")
		w.broker.Manage([]*credentials.Credential{one.Credential}, nil)
		began := time.Now().Truncate(time.Minute)
		w.call("web", "one", 3)
		w.pass(90 * time.Second)
		w.call("job", "one", 1)
		w.call("web", "one", 2)
		w.wantUses("one", broker.Use{Caller: "job", Version: 1, Minute: began.Add(time.Minute), Count: 1},
			broker.Use{Caller: "web", Version: 1, Minute: began.Add(time.Minute), Count: 5})
		w.broker.Manage([]*credentials.Credential{one.withCanary(two, "job*")}, nil)
		w.pass(time.Minute)
		w.call("job", "one", 4)
		w.use(mail(w.first), board("second")) // the decisions are made again
		w.broker.Manage([]*credentials.Credential{one.withCanary(two, "job*")}, nil)
		w.call("job", "one", 1)
		for _, result := range w.broker.GetBatch(w.Context(), named("batch"), []string{"one", "board", "one"}) {
			if result.Err != nil {
				t.Fatal(result.Err)
			}
		}
		now := began.Add(2 * time.Minute)
		w.wantUses("one", broker.Use{Caller: "batch", Version: 1, Minute: now, Count: 2}, broker.Use{Caller: "job", Version: 2, Minute: now, Count: 5},
			broker.Use{Caller: "job", Version: 1, Minute: began.Add(time.Minute), Count: 1},
			broker.Use{Caller: "web", Version: 1, Minute: began.Add(time.Minute), Count: 5})
		w.wantUses("board", broker.Use{Caller: "batch", Minute: now, Count: 1})
		w.wantUses("mail")
	})
}

func TestWatchesCountWhatTheySend(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Manage([]*credentials.Credential{key("one", 1, "a").Credential}, nil)
		watch := w.broker.Watch(named("web"), nil, []string{"one", "none"})
		defer watch.Close()
		f := follower{w, watch}
		f.next(0)
		f.next(0)
		w.broker.Manage([]*credentials.Credential{key("one", 2, "b").Credential}, nil)
		f.next(0)
		w.broker.Manage([]*credentials.Credential{key("one", 2, "b").Credential}, nil)
		f.wantNothing(time.Minute)
		minute := time.Now().Add(-time.Minute).Truncate(time.Minute)
		w.wantUses("one", broker.Use{Caller: "web", Version: 1, Minute: minute, Count: 1}, broker.Use{Caller: "web", Version: 2, Minute: minute, Count: 1})
	})
}

// TestUsesOfManyCallersAreBounded checks that the most recent callers are kept.
func TestUsesOfManyCallersAreBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 1000 {
			w.call(fmt.Sprintf("caller-%d", i), "board", 1)
			if i%100 == 99 {
				w.pass(time.Minute)
			}
		}
		all, _ := w.broker.Uses("board")
		if len(all) != broker.UsesShown {
			t.Fatalf("%d uses are kept, want %d", len(all), broker.UsesShown)
		}
		for _, use := range all {
			if use.Caller < "caller-900" || use.Count != 1 {
				t.Errorf("the use %+v is kept", use)
			}
		}
	})
}

func TestSavedUsesAddUp(t *testing.T) {
	inWorld(t, func(w *world) {
		stored, fails := map[string]int64{}, false
		save := func() {
			_ = w.broker.SaveUses(func(uses []broker.Use) error {
				if fails {
					return errors.New("away")
				}
				for _, use := range uses {
					stored[use.CredentialID+" "+use.Caller] += use.Count
				}
				return nil
			})
		}
		w.call("web", "board", 3)
		save()
		w.call("web", "board", 2)
		fails = true
		save()
		if _, unsaved := w.broker.Uses("board"); unsaved[0].Count != 2 {
			t.Errorf("Uses returns %d unsaved calls, want 2", unsaved[0].Count)
		}
		fails = false
		w.call("web", "board", 1)
		save()
		save()
		if stored["board web"] != 6 {
			t.Errorf("SaveUses saved %d calls, want 6", stored["board web"])
		}
		minute := time.Now().Truncate(time.Minute)
		w.wantUses("board", broker.Use{Caller: "web", Minute: minute, Count: 6})
		w.use(mail(w.first))
		save()
		w.wantUses("board")
	})
}

// TestUsesAreNotLost counts calls that run while uses are saved, and while the minute changes.
func TestUsesAreNotLost(t *testing.T) {
	inWorld(t, func(w *world) {
		const callers, calls = 4, 500
		var saved int64
		var calling sync.WaitGroup
		for i := range callers {
			calling.Go(func() {
				for n := range calls {
					w.call(fmt.Sprint("caller-", i%2), "board", 1)
					if n%50 == 0 {
						time.Sleep(30 * time.Second) //nolint:forbidigo // in a bubble of testing/synctest, sleeping takes no real time
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { calling.Wait(); close(done) }()
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			case <-time.After(time.Second):
			}
			if err := w.broker.SaveUses(func(uses []broker.Use) error {
				for _, use := range uses {
					saved += use.Count
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		if saved != callers*calls {
			t.Errorf("SaveUses saved %d calls, want %d", saved, callers*calls)
		}
	})
}
