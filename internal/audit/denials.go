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
	// maxDenied is the maximum number of callers whose denials are counted. A caller that is no
	// longer counted may have a burst of records again. It is also the maximum number of summaries
	// that wait to be written.
	maxDenied = 10_000
	// summaryInterval is how long denials are counted before their summary is written.
	summaryInterval = time.Minute
	// At most summariesAtOnce are written at once, and the next ones after summaryPause, so that
	// they do not hold up the records of calls.
	summariesAtOnce = 500
	summaryPause    = time.Second
)

// DenialOptions configure Denials. PerSecond and Burst are required.
type DenialOptions struct {
	// PerSecond is the number of denials that each caller has recorded per second in the long run,
	// and Burst the number at once.
	PerSecond, Burst int
	// Log takes the summaries. Nil: there are none.
	Log DenialLog
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// LeftOut is called with the caller's name for each denial that has no record of its own.
	// Nil: nothing is called.
	LeftOut func(caller string)
}

// DenialLog takes summaries of denials. A summary belongs to no call.
type DenialLog interface {
	Log
	// Offer takes a record if there is enough room for the records of calls too, and reports
	// whether it did. It does not wait.
	Offer(record Record) bool
}

// Denials limits how many denials of each caller are recorded one by one. The other denials of a
// caller are counted, and each minute one record has their number: their summary. When the log is
// short of room, summaries wait, and include further denials. Close ends it. It is safe for concurrent use.
type Denials struct {
	options DenialOptions
	rates   *ratelimit.Limiter[string] // by the caller's name

	mu        sync.Mutex
	summaries map[string]*Record // that wait to be written, by the caller's name; at most maxDenied
	scheduled bool               // a timer runs that calls offerSome
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

// Allow counts a denial of a caller, and reports whether it is to be recorded.
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
	summary.Caller = caller // as it was at the last denial
	summary.LeftOut++
	if !d.scheduled {
		d.scheduled = true
		d.options.Clock.AfterFunc(summaryInterval, d.offerSome)
	}
}

// offerSome passes summaries to the log while it has room.
func (d *Denials) offerSome() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush(summariesAtOnce, d.options.Log.Offer)
	d.scheduled = len(d.summaries) > 0
	if d.scheduled {
		d.options.Clock.AfterFunc(summaryPause, d.offerSome)
	}
}

// flush passes up to limit summaries to take, until it refuses one. The caller holds mu.
func (d *Denials) flush(limit int, take func(Record) bool) {
	for name, summary := range d.summaries {
		if limit == 0 || !take(*summary) {
			return
		}
		delete(d.summaries, name)
		limit--
	}
}

// write writes a summary that can wait no longer. The log counts it as lost if there is no room.
func (d *Denials) write(summary Record) bool {
	_ = d.options.Log.Write(noWait, summary)
	return true
}

// Close writes the summaries that wait. Later denials are in no summary.
func (d *Denials) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.flush(len(d.summaries), d.write)
}

// noWait is a context that has ended: Write does not wait.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
