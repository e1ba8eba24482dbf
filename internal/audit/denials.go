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
	// maxDenied is the maximum number of callers whose denials are counted. A caller whose
	// denials are no longer counted may again have a burst of denials recorded. maxDenied is
	// also the maximum number of summaries that wait to be written.
	maxDenied = 10_000
	// summaryInterval is how long a caller's denials are counted before the summary of these
	// denials is written.
	summaryInterval = time.Minute
	// At most summariesAtOnce summaries are written at once. The next summaries are written
	// after summaryPause, so that summaries do not delay the records of calls.
	summariesAtOnce = 500
	summaryPause    = time.Second
)

// DenialOptions configure Denials. PerSecond and Burst are required.
type DenialOptions struct {
	// PerSecond is the number of a caller's denials that are recorded per second in the long
	// run. Burst is the number of a caller's denials that are recorded at once.
	PerSecond, Burst int
	// Log receives the summaries of denials. If Log is nil, no summaries are written.
	Log DenialLog
	// Clock supplies the time. Default: the system clock.
	Clock clockwork.Clock
	// LeftOut is called with the caller's name for each denial that is not recorded
	// individually. LeftOut may be nil.
	LeftOut func(caller string)
}

// DenialLog is a Log that also accepts summaries of denials, which belong to no call.
type DenialLog interface {
	Log
	// Offer accepts a record if enough room is left for the records of calls, and reports
	// whether it accepted the record. Offer does not wait.
	Offer(record Record) bool
}

// Denials limits how many denials of each caller are recorded individually. A caller's further
// denials are counted, and each minute one record, the summary, states their number. While the
// log has too little room, summaries wait, and include further denials. Close stops Denials.
// Denials is safe for concurrent use.
type Denials struct {
	options DenialOptions
	rates   *ratelimit.Limiter[string] // the rate of denials of each caller, by name

	mu        sync.Mutex
	summaries map[string]*Record // summaries that wait to be written, by the caller's name; at most maxDenied
	scheduled bool               // a timer that calls offerSome is running
	closed    bool
}

// NewDenials returns Denials.
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

// Allow counts a denial of a caller, and reports whether the denial must be recorded
// individually.
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
	summary.Caller = caller // the caller's details are those of the last denial
	summary.LeftOut++
	if !d.scheduled {
		d.scheduled = true
		d.options.Clock.AfterFunc(summaryInterval, d.offerSome)
	}
}

// offerSome passes summaries to the log while the log has room.
func (d *Denials) offerSome() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(summariesAtOnce, d.options.Log.Offer)
	d.scheduled = len(d.summaries) > 0
	if d.scheduled {
		d.options.Clock.AfterFunc(summaryPause, d.offerSome)
	}
}

// flush passes summaries to the function take, until take refuses a summary or has accepted as
// many as the limit allows. The caller must have locked mu.
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

// Close writes the summaries that wait. Denials after Close are in no summary.
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
