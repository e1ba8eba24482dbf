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
	// maxDenied is the maximum number of callers whose denials are counted at the same time.
	// maxDenied is also the maximum number of summaries that wait to be written. When more callers
	// are denied, the count of some caller is dropped, and the next denials of this caller have
	// records of their own again.
	maxDenied = 10_000
	// summaryInterval is how long the denials of a caller are counted before their summary is
	// written.
	summaryInterval = time.Minute
	// summariesAtOnce is the maximum number of summaries that are written at once. Further
	// summaries are written after summaryPause, so that summaries do not delay the records of
	// calls.
	summariesAtOnce = 500
	summaryPause    = time.Second
)

// DenialOptions configure Denials. The fields PerSecond and Burst are required.
type DenialOptions struct {
	// PerSecond is how many denials of one caller are recorded per second in the long run, and
	// Burst is how many are recorded at once.
	PerSecond, Burst int
	// Log receives the summaries of denials. If Log is nil, no summaries are written.
	Log DenialLog
	// Clock is the source of the time, by default the system clock.
	Clock clockwork.Clock
	// LeftOut, if not nil, is called with the caller's name for each denial without a record of its
	// own.
	LeftOut func(caller string)
}

// DenialLog is a Log that also accepts summaries of denials, which belong to no single call.
type DenialLog interface {
	Log
	// Offer accepts a record only if enough room is left for the records of calls, and reports
	// whether it did. Offer does not wait.
	Offer(record Record) bool
}

// Denials limits how many denials of each caller have audit records of their own. Denials over the
// limit are only counted, and each minute a summary records their number. A summary waits while the
// log has too little room, and meanwhile further denials are added to it. The method Close stops
// the counting. Denials is safe for concurrent use.
type Denials struct {
	options DenialOptions
	rates   *ratelimit.Limiter[string] // the limiter of recorded denials, by the caller's name

	mu        sync.Mutex
	summaries map[string]*Record // up to maxDenied summaries that wait to be written, by the caller's name
	scheduled bool               // whether a timer for offerSome is running
	closed    bool
}

// NewDenials returns Denials that have counted nothing yet.
func NewDenials(options DenialOptions) *Denials {
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	return &Denials{
		options:   options,
		rates:     ratelimit.New[string](float64(options.PerSecond), options.Burst, maxDenied),
		summaries: map[string]*Record{},
	}
}

// Allow counts a denial, and reports whether it must have a record of its own.
func (d *Denials) Allow(caller access.Caller) bool {
	if d.rates.Take(caller.Name, 1, d.options.Clock.Now()) == 0 {
		return true
	}
	if d.options.Log != nil {
		d.addToSummary(caller)
	}
	if d.options.LeftOut != nil {
		d.options.LeftOut(caller.Name)
	}
	return false
}

func (d *Denials) addToSummary(caller access.Caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	summary := d.summaries[caller.Name]
	if summary == nil {
		if len(d.summaries) == maxDenied {
			d.flush(1, d.write)
		}
		summary = &Record{Operation: LeftOut, Action: access.Use, Outcome: "RATE_LIMITED"}
		d.summaries[caller.Name] = summary
	}
	summary.Caller = caller // the summary contains the caller's address and method at the last denial
	summary.LeftOut++
	if !d.scheduled {
		d.scheduled = true
		d.options.Clock.AfterFunc(summaryInterval, d.offerSome)
	}
}

// offerSome passes waiting summaries to the log while it has room.
func (d *Denials) offerSome() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(summariesAtOnce, d.options.Log.Offer)
	d.scheduled = len(d.summaries) > 0
	if d.scheduled {
		d.options.Clock.AfterFunc(summaryPause, d.offerSome)
	}
}

// flush passes waiting summaries to the function `take` until `take` refuses a summary, or until it
// has passed `limit` summaries. The lock mu must be held.
func (d *Denials) flush(limit int, take func(Record) bool) {
	for name, summary := range d.summaries {
		if limit == 0 || !take(*summary) {
			return
		}
		delete(d.summaries, name)
		limit--
	}
}

// write writes a summary that can wait no longer. If the log has no room, the log counts the
// summary as lost.
func (d *Denials) write(summary Record) bool {
	_ = d.options.Log.Write(noWait, summary)
	return true
}

// Close stops the counting, and writes the summaries that still wait. Denials after the call of
// Close are not part of a summary.
func (d *Denials) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.flush(len(d.summaries), d.write)
}

// noWait is a context that has ended, so that Write does not wait.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
