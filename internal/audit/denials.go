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
	// When a caller's denials are no longer counted, the caller may again have a burst of
	// denials recorded. maxDenied is also the maximum number of summaries that wait to be
	// written.
	maxDenied = 10_000
	// summaryInterval is how long the denials of a caller are counted before their number is
	// written as a summary.
	summaryInterval = time.Minute
	// summariesAtOnce is the maximum number of summaries that are written at once. The next
	// summaries are written after the time summaryPause, so that summaries do not delay the
	// records of calls.
	summariesAtOnce = 500
	summaryPause    = time.Second
)

// DenialOptions configure Denials. PerSecond and Burst are required.
type DenialOptions struct {
	// PerSecond is how many denials of one caller are recorded per second in the long run. Burst
	// is how many denials of one caller are recorded at once.
	PerSecond, Burst int
	// Log is the log that receives the summaries of denials. If Log is nil, no summaries are
	// written.
	Log DenialLog
	// Clock is the source of the current time. Default: the system clock.
	Clock clockwork.Clock
	// LeftOut is called with the caller's name for each denial that is not
	// recorded individually. LeftOut may be nil.
	LeftOut func(caller string)
}

// DenialLog is a Log that also accepts summaries of denials. A summary does not belong to a
// single call.
type DenialLog interface {
	Log
	// Offer accepts a record only if there is enough room left for the records of calls, and
	// reports whether it accepted the record. Offer does not wait.
	Offer(record Record) bool
}

// Denials is a limit on how many denials of each caller are recorded individually. Further
// denials of a caller are only counted. Each minute one record, the summary, states the number
// of these denials. While the log has too little room, summaries are not written yet, and
// further denials are added to them. The method Close stops the counting. Denials is safe for
// concurrent use.
type Denials struct {
	options DenialOptions
	rates   *ratelimit.Limiter[string] // how many denials of each caller may be recorded, by the caller's name

	mu        sync.Mutex
	summaries map[string]*Record // summaries that wait to be written, by the caller's name; at most maxDenied
	scheduled bool               // whether a timer that calls the method offerSome is running
	closed    bool
}

// NewDenials returns a new limit on recorded denials.
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

// Allow is called for each denial of a caller. Allow counts the denial, and reports whether the
// denial must be recorded individually.
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
	summary.Caller = caller // the summary contains the caller's details at the last denial
	summary.LeftOut++
	if !d.scheduled {
		d.scheduled = true
		d.options.Clock.AfterFunc(summaryInterval, d.offerSome)
	}
}

// offerSome passes waiting summaries to the log while the log has room.
func (d *Denials) offerSome() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(summariesAtOnce, d.options.Log.Offer)
	d.scheduled = len(d.summaries) > 0
	if d.scheduled {
		d.options.Clock.AfterFunc(summaryPause, d.offerSome)
	}
}

// flush passes waiting summaries to the function `take`. The method ends when
// `take` refuses a summary, or has accepted as many summaries as the parameter `limit` allows.
// The mutex `mu` must be locked.
func (d *Denials) flush(limit int, take func(Record) bool) {
	for name, summary := range d.summaries {
		if limit == 0 || !take(*summary) {
			return
		}
		delete(d.summaries, name)
		limit--
	}
}

// write writes a summary that can wait no longer. If the log has no room, the log
// counts the summary as lost.
func (d *Denials) write(summary Record) bool {
	_ = d.options.Log.Write(noWait, summary)
	return true
}

// Close stops the counting of denials, and writes the summaries that still wait. Denials that
// happen after the call of Close are counted in no summary.
func (d *Denials) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.flush(len(d.summaries), d.write)
}

// noWait is a context that has already ended, so that Write does not wait.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
