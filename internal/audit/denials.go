package audit

import (
	"context"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/ratelimit"
)

const (
	// maxDenied is how many callers are remembered with their denials. One that is forgotten
	// may have a burst of them again. It bounds too how many wait to be told of.
	maxDenied = 10_000
	// leftOutInterval is how long denials that were left out wait to be told of, while the log
	// has room.
	leftOutInterval = time.Minute
	// Of tellAtOnce callers is told at once, and of the next after tellPause, so that the
	// records of calls are not held up.
	tellAtOnce = 500
	tellPause  = time.Second
)

// DenialOptions configure Denials. PerSecond and Burst are required.
type DenialOptions struct {
	// PerSecond is how many denials each caller has recorded in the long run, and Burst at
	// once.
	PerSecond, Burst int
	// Log takes a record of how many were left out. Nil: nobody does.
	Log DenialLog
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// LeftOut is called with the name of the caller for each that is left out. Default:
	// nothing is.
	LeftOut func(caller string)
}

// DenialLog takes records of denials that were left out. They belong to no call.
type DenialLog interface {
	Log
	// Offer takes a record if there is room to spare, and reports whether it did. It does not
	// wait.
	Offer(record Record) bool
}

// Denials bound how many denials of each caller are recorded one by one. Of the others there
// is one record for each caller a minute, or as soon as the log has room for it. Close ends it.
type Denials struct {
	options DenialOptions

	rates *ratelimit.Limiter[string] // by name

	mu      sync.Mutex
	leftOut map[string]*denied // by name, those in untold
	untold  []*denied          // the first first, maxDenied of them at most
	telling clockwork.Timer    // nil: nothing waits to be told
	closed  bool
}

// denied is a caller of whom denials were left out.
type denied struct {
	leftOut int           // and not told of yet
	last    access.Caller // as it was when the last was left out
}

// NewDenials returns Denials.
func NewDenials(options DenialOptions) *Denials {
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.LeftOut == nil {
		options.LeftOut = func(string) {}
	}
	return &Denials{
		options: options, leftOut: map[string]*denied{},
		rates: ratelimit.New[string](float64(options.PerSecond), options.Burst, maxDenied),
	}
}

// Allow counts a denial of a caller, and reports whether it is to be recorded.
func (d *Denials) Allow(caller access.Caller) bool {
	if d.count(caller) {
		return true
	}
	d.options.LeftOut(caller.Name)
	return false
}

func (d *Denials) count(caller access.Caller) bool {
	if d.rates.Take(caller.Name, 1, d.options.Clock.Now()) == 0 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	known := d.leftOut[caller.Name]
	if known == nil {
		known = &denied{}
		d.leftOut[caller.Name] = known
		d.untold = append(d.untold, known)
	}
	known.leftOut++
	known.last = caller
	if len(d.untold) > maxDenied {
		d.tell(1, d.write)
	}
	if d.telling == nil {
		d.telling = d.options.Clock.AfterFunc(leftOutInterval, d.tellInTime)
	}
	return false
}

// Close tells of what was left out. Nothing is told of what is left out from then on.
func (d *Denials) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.telling != nil {
		d.telling.Stop()
		d.telling = nil
	}
	d.tell(len(d.untold), d.write)
}

func (d *Denials) tellInTime() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.telling = nil
	if d.closed {
		return
	}
	d.tell(tellAtOnce, d.offer)
	if len(d.untold) > 0 {
		d.telling = d.options.Clock.AfterFunc(tellPause, d.tellInTime)
	}
}

// tell is for who holds mu. It tells of so many callers at most, the first first, and of no
// more once a record was not taken: that one counts on.
func (d *Denials) tell(most int, take func(Record) bool) {
	told := 0
	for ; told < min(most, len(d.untold)); told++ {
		one := d.untold[told]
		if !take(Record{Caller: one.last, Operation: LeftOut, Action: access.Use, Outcome: "RATE_LIMITED", LeftOut: one.leftOut}) {
			break
		}
		delete(d.leftOut, one.last.Name)
	}
	clear(d.untold[:told])
	d.untold = d.untold[told:]
}

func (d *Denials) offer(record Record) bool {
	return d.options.Log == nil || d.options.Log.Offer(record)
}

// write is for what cannot wait any longer. The log counts a record that it has no room for.
func (d *Denials) write(record Record) bool {
	if d.options.Log != nil {
		_ = d.options.Log.Write(ended, record)
	}
	return true
}

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
