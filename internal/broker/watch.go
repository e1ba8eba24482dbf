package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/fault"
)

// leastRecheck is how soon a watched ID is looked at again at the earliest.
const leastRecheck = time.Second

// Watch follows some credentials. It keeps of each what its reader was told last, and
// whether that may have changed: its size does not depend on how slow the reader is.
// Next is called from one goroutine. Close ends it.
type Watch struct {
	broker *Broker
	caller Caller
	// again identifies the caller again by another Generation; nil: nobody does.
	again func(context.Context, *Generation) (access.Caller, error)
	wake  chan struct{} // holds an element while there may be something new

	// by and proofs are what the caller was identified by when that was tried last. Next alone
	// uses them, and caller.
	by     *Generation
	proofs uint64

	mu     sync.Mutex
	slots  []*slot
	closed bool
}

// slot is what a Watch has of one ID. The Watch's mu guards it.
type slot struct {
	id      string
	dirty   bool     // the state may have changed
	waiting *account // for a token of which somebody waits; nil: of none
	arrived *arrival // what the last wait came to, not looked at yet; nil: nothing
	told    *told    // nil: nothing yet
	recheck clockwork.Timer
}

// arrival is what waiting for a token of an account came to.
type arrival struct {
	account    *account
	at         time.Time
	decoration *Decoration
	err        error
}

// tells reports whether the arrival is the state of an account. It is for a moment: while
// requests fail, a token that arrives can be one that is about to end.
func (v *arrival) tells(a *account, now time.Time) bool {
	return v != nil && v.account == a && now.Sub(v.at) < leastRecheck
}

// told is what a state was, as far as readers can tell.
type told struct {
	version    string
	expireTime time.Time
	hosts      string
	statuses   string
	reason     fault.Reason
	message    string
}

// Watch starts following the credentials of these IDs, each once. When the configuration changes,
// or what proves identities, the caller is identified again.
func (b *Broker) Watch(caller Caller, again func(context.Context, *Generation) (access.Caller, error), ids []string) *Watch {
	w := &Watch{broker: b, caller: caller, again: again, wake: make(chan struct{}, 1), proofs: caller.Proofs}
	w.by = b.generationOf(caller)
	if again != nil {
		w.caller.By = w.by
	}
	for _, id := range ids {
		if !slices.ContainsFunc(w.slots, func(s *slot) bool { return s.id == id }) {
			w.slots = append(w.slots, &slot{id: id, dirty: true})
		}
	}
	w.wake <- struct{}{}
	b.watches.add(w)
	return w
}

// Close ends the Watch.
func (w *Watch) Close() {
	w.broker.watches.remove(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, s := range w.slots {
		s.stopRecheck()
	}
}

// Next returns the next state that the reader was not told yet: first the current one
// of each ID, then each that differs from that. A reader that comes late gets the
// latest. The error is that of ctx, or a *fault.Error when the Broker closes.
func (w *Watch) Next(ctx context.Context) (Result, error) {
	for {
		if w.broker.ctx.Err() != nil {
			return Result{}, fault.New(fault.ServerStopping, "the broker is stopping")
		}
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		if err := w.identify(ctx); err != nil {
			return Result{}, err
		}
		if result, record, ok := w.news(ctx); ok {
			if record != nil {
				if err := w.broker.record(ctx, record, result.Decoration, result.Err); err != nil {
					return Result{}, err
				}
			}
			result.Decoration = result.Decoration.forCallers()
			return result, nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-w.broker.ctx.Done():
		}
	}
}

// errNoLonger is how the watch ends of a caller who would not be who it was.
var errNoLonger = fault.New(fault.CallerUnauthenticated, "what proved the caller's identity is accepted no longer: authenticate and watch again")

// identify identifies the caller again if that may come to something else by now. A caller that
// cannot be identified just now goes on, with what the grants of both configurations allow.
func (w *Watch) identify(ctx context.Context) error {
	proofs, current := w.broker.proofs.Load(), w.broker.current.Load()
	if w.again == nil || w.proofs == proofs && w.by == current {
		return nil
	}
	w.proofs, w.by = proofs, current
	caller, err := w.again(ctx, current)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && fault.From(err).Reason == fault.CallerUnauthenticated, err == nil && caller.Name != w.caller.Name:
		return errNoLonger
	case err == nil && w.caller.By != current:
		w.caller.By = current
		w.touchAll() // what was denied until now may be allowed
	}
	return nil
}

// news returns a state that is ready and differs from what the reader was told, and its
// record; nil: it has none.
func (w *Watch) news(ctx context.Context) (result Result, record *audit.Record, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if !s.dirty {
			continue
		}
		result, grant, ready := w.look(ctx, s)
		if !ready {
			continue
		}
		now := whatWasTold(result)
		if s.told == nil || *s.told != now {
			record := w.recordOf(result, grant, s.told == nil)
			s.told = &now
			return result, record, true
		}
	}
	return Result{}, nil, false
}

// recordOf returns the record of a state, or nil for one denial too many: the caller can ask
// for the first state of an ID as often as it likes. The reader is told the denial all the
// same, as a limit of the moment would be no state. What follows comes of a change of the
// configuration, and is always recorded.
func (w *Watch) recordOf(result Result, grant string, first bool) *audit.Record {
	if first && needsNoGrant(result.Err) && !w.broker.allowDenial(w.caller.Caller) {
		return nil
	}
	record := recordOf(w.caller.Caller, audit.Watch, result.CredentialID)
	record.Grant = grant
	return &record
}

// look returns the state of an ID and the grant for it, or has somebody wait for it.
func (w *Watch) look(ctx context.Context, s *slot) (result Result, grant string, ok bool) {
	result = Result{CredentialID: s.id}
	arrived := s.arrived
	s.dirty, s.arrived = false, nil
	a, grant, err := w.broker.admitWatch(w.caller, s.id)
	if err != nil {
		result.Err = err
	} else {
		var ready bool
		ready, result.Decoration, result.Err = w.broker.ready(a, w.caller.Caller, w.broker.clock.Now())
		switch {
		case ready:
		case arrived.tells(a, w.broker.clock.Now()):
			result.Decoration, result.Err = arrived.decoration, arrived.err
		default:
			w.await(ctx, s, a)
			return Result{}, "", false
		}
	}
	w.scheduleRecheck(s, result)
	return result, grant, true
}

// await waits for a token in the background, and then has the ID looked at again.
func (w *Watch) await(ctx context.Context, s *slot, a *account) {
	if s.waiting == a {
		return
	}
	s.waiting = a
	go func() {
		decoration, err := w.obtain(ctx, a)
		w.mu.Lock()
		defer w.mu.Unlock()
		if s.waiting != a {
			return // the account was replaced meanwhile
		}
		s.waiting = nil
		if ctx.Err() == nil {
			s.arrived = &arrival{account: a, at: w.broker.clock.Now(), decoration: decoration, err: err}
		}
		s.dirty = true
		w.ring()
	}()
}

// obtain waits for a token.
func (w *Watch) obtain(ctx context.Context, a *account) (decoration *Decoration, err error) {
	defer w.broker.recoverTo(&err)
	return w.broker.obtain(ctx, a)
}

// scheduleRecheck has the ID looked at again when its state can change by itself: a
// token ends, or a provider that failed can be asked again.
func (w *Watch) scheduleRecheck(s *slot, result Result) {
	s.stopRecheck()
	var wait time.Duration
	clock := w.broker.clock
	if result.Err == nil {
		if result.Decoration.ExpireTime.IsZero() {
			return // only a reload can change that
		}
		wait = result.Decoration.RefreshTime.Sub(clock.Now())
	} else {
		known := fault.From(result.Err)
		switch known.Reason {
		case fault.CredentialNotFound, fault.InvalidRequest, fault.AccessDenied:
			return // likewise
		default:
		}
		wait = known.RetryDelay
	}
	if !w.closed {
		s.recheck = clock.AfterFunc(max(wait, leastRecheck), func() { w.touch(s.id) })
	}
}

func (s *slot) stopRecheck() {
	if s.recheck != nil {
		s.recheck.Stop()
	}
}

// admitWatch is admit for a caller that may have been identified by an earlier Generation. Its
// grants have to allow the use too: the name can be another's by now.
func (b *Broker) admitWatch(caller Caller, id string) (a *account, grant string, err error) {
	current, identified := b.current.Load(), b.generationOf(caller)
	a, grant, err = current.admit(caller.Name, id)
	if err == nil && identified != current && !identified.policy().Decide(caller.Name, access.Use, a.object()).Allowed {
		return nil, "", errDenied
	}
	return a, grant, err
}

// touchAll says that the state of every ID may have changed.
func (w *Watch) touchAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		s.dirty = true
	}
	w.ring()
}

// touch says that the state of an ID may have changed.
func (w *Watch) touch(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if s.id == id {
			s.dirty = true
			w.ring()
		}
	}
}

// ring wakes the reader.
func (w *Watch) ring() {
	select {
	case w.wake <- struct{}{}:
	default: // it is rung already
	}
}

func whatWasTold(result Result) told {
	if result.Err != nil {
		known := fault.From(result.Err)
		return told{reason: known.Reason, message: known.Message}
	}
	return told{
		version:    result.Decoration.Version,
		expireTime: result.Decoration.ExpireTime,
		hosts:      strings.Join(result.Decoration.AllowedHosts, " "),
		statuses:   fmt.Sprint(result.Decoration.RejectedStatuses),
	}
}
