package audit_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
)

// tally is a DenialLog that adds up the denials in summaries.
type tally struct {
	mu      sync.Mutex
	records int
	leftOut int
	full    bool // if true, Offer refuses records
}

func (l *tally) Offer(record audit.Record) bool {
	l.mu.Lock()
	full := l.full
	l.mu.Unlock()
	return !full && l.Write(context.Background(), record) == nil
}

func (l *tally) Write(_ context.Context, record audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records++
	l.leftOut += record.LeftOut
	return nil
}

// TestDenialsOfManyCallers denies requests of more callers than can be counted at the same time.
// The summaries must include every denial without a record of its own, and their number is limited.
func TestDenialsOfManyCallers(t *testing.T) {
	const callers, each, workers = 10_050, 4, 8
	log := new(tally)
	leftOut := new(tally)
	d := audit.NewDenials(audit.DenialOptions{
		PerSecond: 1, Burst: 1, Log: log, Clock: clockwork.NewFakeClock(),
		LeftOut: func(string) { _ = leftOut.Write(t.Context(), audit.Record{LeftOut: 1}) },
	})
	var asking sync.WaitGroup
	for w := range workers {
		asking.Go(func() {
			for i := w; i < callers; i += workers {
				for range each {
					d.Allow(access.Caller{Name: strconv.Itoa(i)})
				}
			}
		})
	}
	asking.Wait()
	if log.records < callers-10_000 {
		t.Errorf("before Close, %d summaries were written for %d callers, although at most 10,000 summaries may wait", log.records, callers)
	}
	d.Close()
	if want := callers * (each - 1); log.leftOut != want || leftOut.leftOut != want {
		t.Errorf("the summaries count %d denials, and LeftOut was called for %d denials; want %d", log.leftOut, leftOut.leftOut, want)
	}
	before := log.records
	d.Close()
	for range each {
		d.Allow(access.Caller{Name: "late"})
	}
	if log.records != before {
		t.Errorf("%d records were written after Close", log.records-before)
	}
}

// inDenials runs a test in which at most one denial per second is recorded for each caller. The
// function wantWritten advances the clock, and checks all summaries that were written since the
// beginning of the test.
func inDenials(t *testing.T, test func(d *audit.Denials, log *tally, wantWritten func(after time.Duration, records, leftOut int))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, clock := new(tally), clockwork.NewFakeClock()
		d := audit.NewDenials(audit.DenialOptions{PerSecond: 1, Burst: 1, Log: log, Clock: clock})
		test(d, log, func(after time.Duration, records, leftOut int) {
			t.Helper()
			clock.Advance(after)
			synctest.Wait() // this call returns when the functions of the clock's timers have ended
			if log.records != records || log.leftOut != leftOut {
				t.Errorf("the log has %d summaries that count %d denials, want %d summaries that count %d denials", log.records, log.leftOut, records, leftOut)
			}
		})
	})
}

// deny counts several denials at once, of which at most the first may have a record of its own.
func deny(d *audit.Denials, caller, times int) {
	for range times {
		d.Allow(access.Caller{Name: strconv.Itoa(caller)})
	}
}

// TestSummariesAreWrittenInParts checks that at most a few hundred summaries are written at once.
func TestSummariesAreWrittenInParts(t *testing.T) {
	inDenials(t, func(d *audit.Denials, _ *tally, wantWritten func(time.Duration, int, int)) {
		for caller := range 1200 {
			deny(d, caller, 3)
		}
		wantWritten(59*time.Second, 0, 0)
		wantWritten(time.Second, 500, 1000)
		wantWritten(time.Second, 1000, 2000)
		wantWritten(time.Second, 1200, 2400)
		wantWritten(time.Hour, 1200, 2400)
		deny(d, 0, 2)
		wantWritten(59*time.Second, 1200, 2400)
		wantWritten(time.Second, 1201, 2401)
	})
}

// TestSummariesWaitForAFullLog checks that no summary is lost while the log has too little room.
func TestSummariesWaitForAFullLog(t *testing.T) {
	inDenials(t, func(d *audit.Denials, log *tally, wantWritten func(time.Duration, int, int)) {
		log.full = true
		deny(d, 1, 4)
		deny(d, 2, 2)
		wantWritten(time.Minute, 0, 0)
		wantWritten(time.Minute, 0, 0)
		deny(d, 1, 3)
		log.full = false
		wantWritten(time.Second, 2, 3+1+2)
		log.full = true
		deny(d, 1, 2)
		wantWritten(time.Minute, 2, 6)
		d.Close()
		wantWritten(0, 3, 7)
	})
}

// TestOfferLeavesRoom checks that offered records fill at most half of the queue while the output
// hangs. The rest of the queue is for the records of calls.
func TestOfferLeavesRoom(t *testing.T) {
	var once sync.Once
	hangs, release := make(chan struct{}), make(chan struct{})
	s := open(t, audit.Options{BestEffort: true, Output: writerFunc(func(p []byte) (int, error) {
		once.Do(func() { close(hangs) })
		<-release
		return len(p), nil
	})})
	s.mustWrite("a")
	<-hangs
	offered := 0
	for s.Offer(audit.Record{Operation: audit.LeftOut, LeftOut: 1}) {
		offered++
	}
	for range 4000 {
		s.mustWrite("b")
	}
	if s.Offer(audit.Record{}) {
		t.Error("Offer accepted a record although more than half of the queue was full")
	}
	close(release)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s.Offer(audit.Record{}) {
		t.Error("Offer accepted a record after Close")
	}
	s.wantResults(1+offered+4000, 0, 0)
	if offered < 4000 || offered > 4192 {
		t.Errorf("%d offered records are in the queue, want half of 8192", offered)
	}
}

// In TestSummary, the last three denials have no records of their own. A minute later, one audit
// line contains the number of these denials.
func TestSummary(t *testing.T) {
	path, clock := auditFile(t), clockwork.NewFakeClockAt(noon)
	s := open(t, audit.Options{Path: path, Clock: clock})
	d := audit.NewDenials(audit.DenialOptions{PerSecond: 1, Burst: 2, Log: s, Clock: clock})
	for i, want := range []bool{true, true, false, false, false} {
		if got := d.Allow(access.Caller{Name: "token:a", Method: "token", Address: "192.0.2.1:" + strconv.Itoa(i)}); got != want {
			t.Errorf("denial %d is recorded: %v, want %v", i, got, want)
		}
	}
	clock.Advance(time.Minute)
	await(t, "a line written", func() bool { return int(s.results.written.Load()) == 1 })
	const want = `{"time":"2026-03-01T12:01:00.000005Z","caller":"token:a","method":"token","address":"192.0.2.1:4",` +
		`"operation":"left_out","action":"use","credential_id":"","outcome":"RATE_LIMITED","left_out":3}` + "\n"
	if got := read(t, path); got != want {
		t.Errorf("the line is %s, want %s", got, want)
	}
}
