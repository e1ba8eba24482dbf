package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

// errNoLonger is how the watch ends of a caller who would not be who it was.
var errNoLonger = fault.New(fault.CallerUnauthenticated, "what proved the caller's identity is accepted no longer: authenticate and watch again")

// openWatches are the streams whose callers were authenticated when they began. They are
// looked at again whenever what authenticates changes.
type openWatches struct {
	look       func(*openWatch)
	looked     func()        // called when all were looked at
	generation atomic.Uint64 // how often that has changed

	mu      sync.Mutex
	open    map[*openWatch]bool
	looking bool // somebody looks at them
	stale   bool // there was a change since
}

// openWatch is one of them.
type openWatch struct {
	ctx      context.Context //nolint:containedctx // it is that of the stream
	end      context.CancelCauseFunc
	evidence authentication.Evidence
	caller   string
	by       atomic.Pointer[authenticators] // that identified the caller last
}

func newOpenWatches(look func(*openWatch), looked func()) *openWatches {
	return &openWatches{look: look, looked: looked, open: map[*openWatch]bool{}}
}

// changed has all of them looked at, in the background.
func (w *openWatches) changed() {
	w.generation.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = true
	if !w.looking && len(w.open) > 0 {
		w.looking = true
		go w.lookAtAll()
	}
}

// lookAtAll looks until there is no change.
func (w *openWatches) lookAtAll() {
	for {
		for _, watch := range w.all() {
			w.look(watch)
		}
		w.looked()
		if w.isDone() {
			return
		}
	}
}

// all returns those that are open, and takes the last change as seen.
func (w *openWatches) all() []*openWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale = false
	return slices.Collect(maps.Keys(w.open))
}

func (w *openWatches) isDone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looking = w.stale
	return !w.looking
}

func (w *openWatches) add(watch *openWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[watch] = true
}

func (w *openWatches) remove(watch *openWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, watch)
}

// identifyStream is an auth.AuthFunc for streams. The context that it returns ends when the
// caller would not be the same any more.
func (i *identities) identifyStream(service *rpc.Service) func(context.Context) (context.Context, error) {
	return func(ctx context.Context) (context.Context, error) {
		generation := i.watches.generation.Load()
		by, evidence := i.current.Load(), evidenceOf(ctx)
		caller, err := i.authenticate(ctx, by, evidence)
		if err != nil {
			return nil, service.Refused(ctx, err)
		}
		ctx, end := context.WithCancelCause(rpc.WithCaller(ctx, caller))
		evidence.Proved = true
		watch := &openWatch{ctx: ctx, end: end, evidence: evidence, caller: caller.Name}
		watch.by.Store(by)
		i.watches.add(watch)
		context.AfterFunc(ctx, func() { i.watches.remove(watch) })
		if i.watches.generation.Load() != generation { // a change came before there was a watch to look at
			i.recheck(watch)
		}
		return broker.WithView(ctx, func() broker.View { return watch.by.Load().served() }), nil
	}
}

// recheck ends a watch whose caller would not be the same any more. One that cannot be
// checked just now goes on, with what the grants of both configurations allow.
func (i *identities) recheck(watch *openWatch) {
	by := i.current.Load()
	caller, err := by.silent.Authenticate(watch.ctx, watch.evidence)
	refused := errors.Is(err, authentication.ErrNoEvidence) || err != nil && fault.From(err).Reason == fault.CallerUnauthenticated
	switch {
	case refused || err == nil && caller.Name != watch.caller:
		watch.end(errNoLonger)
	case err == nil:
		watch.by.Store(by)
	}
}
