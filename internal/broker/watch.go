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

// minRecheck is the minimum delay before the state of a watched credential is computed again only
// because time has passed.
const minRecheck = time.Second

var errStopping = fault.New(fault.ServerStopping, "the broker is stopping")

var errNoLongerAccepted = fault.New(fault.CallerUnauthenticated,
	"the caller's token or certificate is no longer accepted: authenticate and watch again")

// Verify authenticates the caller of a watch again, with the keys of a new Generation.
type Verify func(context.Context, *Generation) (access.Caller, error)

// Watch reports changes of some credentials to one reader. A Watch stores only the latest state of
// each credential, so a slow reader does not need more memory. Only one goroutine may call Next,
// and the same goroutine must call Close in the end.
type Watch struct {
	broker *Broker
	caller Caller // By is the Generation that last authenticated the caller; nil stands for the current Generation
	verify Verify
	by     *Generation      // the Generation that was last passed to `verify`
	slots  map[string]*slot // by credential ID
	queue  chan *slot       // no slot is in the queue twice
}

// slot is what a Watch knows about one of its credentials. A slot is put into the queue of the watch
// when the state of its credential may have changed.
type slot struct {
	watch    *Watch
	id       string
	queued   atomic.Bool     // whether the slot is in the queue
	wait     *tokenWait      // nil if no goroutine was started to wait for a token
	lastSent string          // fingerprint of the state that was sent last; empty if none was sent yet
	recheck  clockwork.Timer // puts the slot into the queue when it fires; nil if there is no timer
}

// tokenWait is a background goroutine's wait for an account's token, and its result.
type tokenWait struct {
	account *account
	ended   chan struct{} // channel that is closed when the wait has ended and the fields below are set
	at      time.Time     // time at which the wait ended; zero if the context of the wait was cancelled
	result  Result
}

// Watch starts to watch the credentials with these IDs. An ID that occurs several times counts
// once. For each new Generation, the function `verify`, if it is not nil, authenticates the caller
// again.
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

// Next returns the next state to send to the reader: first the current state of each credential,
// and then each changed state. The error is the error of ctx, or a *fault.Error if the watch has
// ended. A watch ends when the Broker closes, when the caller can no longer be authenticated, or
// when the audit record of a state cannot be written.
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

// update computes the state of a credential. If the state is known and differs from the state that
// was sent last, it is recorded in the audit log and returned.
func (w *Watch) update(ctx context.Context, s *slot) (result Result, changed bool, err error) {
	if err := w.authenticate(ctx); err != nil {
		return Result{}, false, err
	}
	result, by, known := w.state(ctx, s)
	if !known {
		return Result{}, false, nil
	}
	s.scheduleRecheck(result)
	first, state := s.lastSent == "", fingerprint(result)
	if state == s.lastSent {
		return Result{}, false, nil
	}
	s.lastSent = state
	// A caller can open any number of watches and be denied each time, so the number of audit
	// records of such denials is limited. The reader receives the denial even if it is not
	// recorded. A denial that is not the first state is recorded always: only a configuration
	// change causes it.
	if first && result.Err != nil && isDenial(result.Err) && !w.broker.allowsDenial(w.caller.Caller) {
		return result, true, nil
	}
	record := audit.Record{Caller: w.caller.Caller, Operation: audit.Watch, CredentialID: s.id, Grant: by.grant}
	if err := w.broker.record(ctx, &record, result.Decoration, result.Err); errors.Is(err, errNotRecorded) {
		return Result{}, false, err
	}
	if d := result.Decoration; d != nil {
		w.broker.countUse(by, d.number, d, w.broker.options.Clock.Now())
	}
	return result, true, nil
}

// authenticate checks the caller's identity again if there is a new Generation. If authentication
// fails for a temporary reason, the watch continues with those credentials that the grants of both
// Generations allow.
func (w *Watch) authenticate(ctx context.Context) error {
	current := w.broker.current.Load()
	if w.verify == nil || w.by.Number == current.Number {
		return nil
	}
	w.by = current
	caller, err := w.verify(ctx, current)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err == nil && caller.Name == w.caller.Name:
		w.caller.By, w.caller.Groups = current, caller.Groups
	case err == nil, fault.From(err).Reason == fault.CallerUnauthenticated:
		return errNoLongerAccepted
	}
	return nil
}

// state returns the state of a credential, and the decision about the caller's access to it. The
// state is unknown while the broker waits for a token.
func (w *Watch) state(ctx context.Context, s *slot) (result Result, by *decision, known bool) {
	result.CredentialID = s.id
	a, by, err := w.admit(s.id)
	now := w.broker.options.Clock.Now()
	if result.Err = err; err == nil {
		result.Decoration, result.Err = w.broker.ready(a, w.caller.Caller, now)
	}
	if result.Decoration != nil || result.Err != nil {
		s.wait = nil
		return result, by, true
	}
	if s.wait != nil && s.wait.account == a {
		select {
		case <-s.wait.ended:
		default:
			return result, by, false
		}
		// The result may be a token that is about to expire, because its renewal failed. So an
		// older result is not used, and another wait begins.
		if now.Sub(s.wait.at) < minRecheck {
			result, s.wait = s.wait.result, nil
			return result, by, true
		}
	}
	s.wait = w.await(ctx, s, a)
	return result, by, false
}

// admit decides with the current Generation whether the caller may use a credential. If an earlier
// Generation authenticated the caller, the grants of that Generation must also allow the use,
// because the caller's name may now belong to someone else.
func (w *Watch) admit(id string) (a *account, made *decision, err error) {
	current, by := w.broker.current.Load(), w.caller.By
	a, made, err = w.broker.admit(current, &w.caller.Caller, id)
	if err == nil && by != nil && by != current && !allows(by.Config.Policy, w.caller.Caller, a) {
		return nil, &decision{}, errDenied
	}
	return a, made, err
}

// await starts a background goroutine that waits for a token, and then puts the slot into the
// queue.
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

// mark puts the slot into the queue, unless it is there already.
func (s *slot) mark() {
	if !s.queued.Swap(true) {
		s.watch.queue <- s // the queue has room for every slot
	}
}

// scheduleRecheck sets a timer for a state that can change without an event: a token expires, or a
// provider that failed can be asked again.
func (s *slot) scheduleRecheck(result Result) {
	s.stopRecheck()
	clock := s.watch.broker.options.Clock
	var wait time.Duration
	switch d := result.Decoration; {
	case result.Err == nil && d.token == nil:
		return // only a reload can change static material
	case result.Err == nil:
		wait = d.refresh.Sub(clock.Now())
	default:
		known := fault.From(result.Err)
		if known.Reason == fault.CredentialNotFound || isDenial(known) {
			return // only a reload can change this error
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

// fingerprint identifies a state: states that a reader can distinguish have different fingerprints.
func fingerprint(state Result) string {
	if state.Err != nil {
		known := fault.From(state.Err)
		return string(known.Reason) + " " + known.Message
	}
	d := state.Decoration
	return fmt.Sprintf("%s %d %v %v %#v", d.Version, d.expiry.UnixNano(), d.AllowedHosts, d.RejectedStatuses, d.RejectedWhen)
}

// Watchers returns the number of open watches.
func (b *Broker) Watchers() int {
	b.watching.Lock()
	defer b.watching.Unlock()
	return len(b.watches)
}

func (b *Broker) mark(ids ...string) {
	b.watching.Lock()
	defer b.watching.Unlock()
	for w := range b.stateWatches {
		w.note(ids, false)
	}
	for w := range b.watches {
		for _, id := range ids {
			if s := w.slots[id]; s != nil {
				s.mark()
			}
		}
	}
}

func (b *Broker) markAll() {
	b.watching.Lock()
	defer b.watching.Unlock()
	for w := range b.stateWatches {
		w.note(nil, true)
	}
	for w := range b.watches {
		for _, s := range w.slots {
			s.mark()
		}
	}
}
