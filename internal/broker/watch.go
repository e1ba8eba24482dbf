package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/fault"
)

// minRecheck is the minimum delay before the state of a watched ID is computed again only because
// time passed.
const minRecheck = time.Second

// errStopping is the error of watches when the Broker closes.
var errStopping = fault.New(fault.ServerStopping, "the broker is stopping")

// errNoLongerAccepted is the error of a watch whose caller fails to authenticate again.
var errNoLongerAccepted = fault.New(fault.CallerUnauthenticated,
	"the caller's token or certificate is no longer accepted: authenticate and watch again")

// Verify authenticates the caller of a watch again, by another Generation.
type Verify func(context.Context, *Generation) (access.Caller, error)

// Watch follows some credentials. It stores states and no backlog, so its size does not depend on
// how slow its reader is. One goroutine calls Next and then Close.
type Watch struct {
	broker *Broker
	caller Caller // By is the Generation that last authenticated the caller; nil: the current one
	verify Verify
	by     *Generation      // the last one with which verify was called
	slots  map[string]*slot // by ID
	queue  chan *slot       // those whose state may have changed, each once
}

// slot is what a Watch stores of one ID.
type slot struct {
	watch    *Watch
	id       string
	queued   atomic.Bool     // it is in watch.queue
	wait     *tokenWait      // nil: none
	lastSent string          // fingerprint of the state that was sent last; empty: none was
	recheck  clockwork.Timer // marks the slot; nil: none
}

// tokenWait is a goroutine that waits for a token of an account.
type tokenWait struct {
	account *account
	ended   chan struct{} // closed when the following is set
	at      time.Time     // when it ended; zero: its context was cancelled
	result  Result
}

// Watch starts to follow the credentials with these IDs; duplicates count once. For each new
// Generation, verify authenticates the caller again. Nil: the caller is not authenticated again.
func (b *Broker) Watch(caller Caller, verify Verify, ids []string) *Watch {
	w := &Watch{broker: b, caller: caller, verify: verify, slots: map[string]*slot{}}
	w.queue = make(chan *slot, len(ids))
	w.by, _ = b.basis(&caller)
	for _, id := range ids {
		if w.slots[id] == nil {
			w.slots[id] = &slot{watch: w, id: id}
			w.slots[id].mark()
		}
	}
	b.watching.Lock()
	defer b.watching.Unlock()
	b.watches[w] = struct{}{}
	return w
}

// Close ends the Watch.
func (w *Watch) Close() {
	w.broker.watching.Lock()
	delete(w.broker.watches, w)
	w.broker.watching.Unlock()
	for _, s := range w.slots {
		s.stopRecheck()
	}
}

// Next returns the next state that the reader does not know: first the current state of each ID,
// then each change. The error is that of ctx, or a *fault.Error when the watch ends: the Broker
// closes, the caller is no longer authenticated, or a state cannot be recorded.
func (w *Watch) Next(ctx context.Context) (Result, error) {
	for {
		if w.broker.ctx.Err() != nil {
			return Result{}, errStopping
		}
		if ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
		select {
		case <-ctx.Done():
		case <-w.broker.ctx.Done():
		case s := <-w.queue:
			s.queued.Store(false)
			if result, changed, err := w.update(ctx, s); changed || err != nil {
				return result, err
			}
		}
	}
}

// update returns the state of an ID, if it is known and differs from what was sent last, and
// records it.
func (w *Watch) update(ctx context.Context, s *slot) (result Result, changed bool, err error) {
	if err := w.authenticate(ctx); err != nil {
		return Result{}, false, err
	}
	result, grant, known := w.state(ctx, s)
	if !known {
		return Result{}, false, nil
	}
	s.scheduleRecheck(result)
	first, state := s.lastSent == "", fingerprint(result)
	if state == s.lastSent {
		return Result{}, false, nil
	}
	s.lastSent = state
	// A caller can cause any number of first denials, so their records are limited. The reader
	// gets the denial in any case. Later denials result from changes of the configuration.
	if first && result.Err != nil && isDenial(result.Err) && !w.broker.allowsDenial(w.caller.Caller) {
		return result, true, nil
	}
	record := audit.Record{Caller: w.caller.Caller, Operation: audit.Watch, CredentialID: s.id, Grant: grant}
	if err := w.broker.record(ctx, &record, result.Decoration, result.Err); errors.Is(err, errNotRecorded) {
		return Result{}, false, err
	}
	return result, true, nil
}

// authenticate authenticates the caller again if there is a new Generation. If the check is not
// possible at the moment, the watch continues with what the grants of both Generations allow.
func (w *Watch) authenticate(ctx context.Context) error {
	current := w.broker.current.Load()
	if w.verify == nil || w.by == current {
		return nil
	}
	w.by = current
	caller, err := w.verify(ctx, current)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err == nil && caller.Name == w.caller.Name:
		w.caller.By = current
	case err == nil, fault.From(err).Reason == fault.CallerUnauthenticated:
		return errNoLongerAccepted
	}
	return nil
}

// state returns the state of an ID and the grant for it. It is not known while the slot waits for a
// token.
func (w *Watch) state(ctx context.Context, s *slot) (result Result, grant string, known bool) {
	result.CredentialID = s.id
	a, grant, err := w.admit(s.id)
	now := w.broker.options.Clock.Now()
	if result.Err = err; err == nil {
		result.Decoration, result.Err = w.broker.ready(a, w.caller.Caller, now)
	}
	if result.Decoration != nil || result.Err != nil {
		s.wait = nil // its result is not the state any more
		return result, grant, true
	}
	if s.wait != nil && s.wait.account == a {
		select {
		case <-s.wait.ended:
		default:
			return result, grant, false
		}
		// While requests fail, the token may be one that is about to end: it is the state only now.
		if now.Sub(s.wait.at) < minRecheck {
			result, s.wait = s.wait.result, nil
			return result, grant, true
		}
	}
	s.wait = w.await(ctx, s, a)
	return result, grant, false
}

// admit calls admit of the current Generation. The grants of the Generation that authenticated the
// caller must allow the use too, because the name may belong to another caller now.
func (w *Watch) admit(id string) (a *account, grant string, err error) {
	current, by := w.broker.current.Load(), w.caller.By
	a, grant, err = current.admit(w.caller.Name, id)
	if err == nil && by != nil && by != current && !allows(by.Config.Policy, w.caller.Caller, a) {
		return nil, "", errDenied
	}
	return a, grant, err
}

// await waits for a token in the background, and then marks the slot.
func (w *Watch) await(ctx context.Context, s *slot, a *account) *tokenWait {
	wait := &tokenWait{account: a, ended: make(chan struct{}), result: Result{CredentialID: s.id}}
	go func() {
		wait.result.Decoration, wait.result.Err = w.broker.obtain(ctx, a)
		if ctx.Err() == nil {
			wait.at = w.broker.options.Clock.Now()
		}
		close(wait.ended)
		s.mark()
	}()
	return wait
}

// mark queues the slot: its state may have changed.
func (s *slot) mark() {
	if !s.queued.Swap(true) {
		s.watch.queue <- s // there is room for each slot
	}
}

// scheduleRecheck marks the slot when its state can change only because time passes: a token ends,
// or a provider that failed can be asked again.
func (s *slot) scheduleRecheck(result Result) {
	s.stopRecheck()
	clock := s.watch.broker.options.Clock
	var wait time.Duration
	switch d := result.Decoration; {
	case result.Err == nil && d.token == nil:
		return // only a reload can change it
	case result.Err == nil:
		wait = d.refresh.Sub(clock.Now())
	default:
		known := fault.From(result.Err)
		if known.Reason == fault.CredentialNotFound || isDenial(known) {
			return // likewise
		}
		wait = known.RetryDelay
	}
	s.recheck = clock.AfterFunc(max(wait, minRecheck), s.mark)
}

func (s *slot) stopRecheck() {
	if s.recheck != nil {
		s.recheck.Stop()
	}
}

// fingerprint returns a text that is different for states that readers can distinguish.
func fingerprint(state Result) string {
	if state.Err != nil {
		known := fault.From(state.Err)
		return string(known.Reason) + " " + known.Message
	}
	d := state.Decoration
	return fmt.Sprintln(d.Version, d.expiry.UnixNano(), d.AllowedHosts, d.RejectedStatuses)
}

// Watchers returns how many watches are open.
func (b *Broker) Watchers() int {
	b.watching.Lock()
	defer b.watching.Unlock()
	return len(b.watches)
}

// mark marks the slots of these IDs in all watches.
func (b *Broker) mark(ids ...string) {
	b.watching.Lock()
	defer b.watching.Unlock()
	for w := range b.watches {
		for _, id := range ids {
			if s := w.slots[id]; s != nil {
				s.mark()
			}
		}
	}
}

// markAll marks all slots of all watches.
func (b *Broker) markAll() {
	b.watching.Lock()
	defer b.watching.Unlock()
	for w := range b.watches {
		for _, s := range w.slots {
			s.mark()
		}
	}
}
