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

// tally is a DenialLog that adds up what was left out.
type tally struct {
	mu      sync.Mutex
	records int
	leftOut int
	full    bool // there is no room to spare
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

// TestDenialsOfManyCallers has more callers than are remembered, all at once. Nothing that is
// left out is lost, and what waits to be told of is bounded.
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
		t.Errorf("%d records before the end: 10,000 may wait, and %d callers have some", log.records, callers)
	}
	d.Close()
	if want := callers * (each - 1); log.leftOut != want || leftOut.leftOut != want {
		t.Errorf("the audit tells of %d denials, and %d were counted; want %d", log.leftOut, leftOut.leftOut, want)
	}
	told := log.records
	d.Close()
	for range each {
		d.Allow(access.Caller{Name: "late"})
	}
	if log.records != told {
		t.Errorf("%d records after the end", log.records-told)
	}
}

// inDenials runs a test with Denials of one a second, and what they tell of.
func inDenials(t *testing.T, test func(d *audit.Denials, log *tally, wantTold func(after time.Duration, records, leftOut int))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, clock := new(tally), clockwork.NewFakeClock()
		d := audit.NewDenials(audit.DenialOptions{PerSecond: 1, Burst: 1, Log: log, Clock: clock})
		test(d, log, func(after time.Duration, records, leftOut int) {
			t.Helper()
			clock.Advance(after)
			synctest.Wait() // for what the clock has started
			if log.records != records || log.leftOut != leftOut {
				t.Errorf("%d records tell of %d denials, want %d of %d", log.records, log.leftOut, records, leftOut)
			}
		})
	})
}

// deny has a caller denied so often at one time: the first is recorded.
func deny(d *audit.Denials, caller, times int) {
	for range times {
		d.Allow(access.Caller{Name: strconv.Itoa(caller)})
	}
}

// TestLeftOutDenialsAreToldInParts has more callers than are told of at once.
func TestLeftOutDenialsAreToldInParts(t *testing.T) {
	inDenials(t, func(d *audit.Denials, _ *tally, wantTold func(time.Duration, int, int)) {
		for caller := range 1200 {
			deny(d, caller, 3)
		}
		wantTold(59*time.Second, 0, 0)
		wantTold(time.Second, 500, 1000)
		wantTold(time.Second, 1000, 2000)
		wantTold(time.Second, 1200, 2400)
		wantTold(time.Hour, 1200, 2400)
		deny(d, 0, 2)
		wantTold(59*time.Second, 1200, 2400)
		wantTold(time.Second, 1201, 2401)
	})
}

// TestLeftOutDenialsOfAFullLog has a log without room to spare. Nothing is forgotten.
func TestLeftOutDenialsOfAFullLog(t *testing.T) {
	inDenials(t, func(d *audit.Denials, log *tally, wantTold func(time.Duration, int, int)) {
		log.full = true
		deny(d, 1, 4)
		deny(d, 2, 2)
		wantTold(time.Minute, 0, 0)
		wantTold(time.Minute, 0, 0)
		deny(d, 1, 3)
		log.full = false
		wantTold(time.Second, 2, 3+1+2)
		log.full = true
		deny(d, 1, 2)
		wantTold(time.Minute, 2, 6)
		d.Close()
		wantTold(0, 3, 7)
	})
}

// TestOfferLeavesRoom has an output that hangs. The records of denials take up half of the
// queue, and those of calls have the rest.
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
		t.Error("a record of denials is taken where there is no room to spare")
	}
	close(release)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s.Offer(audit.Record{}) {
		t.Error("a record is taken after the end")
	}
	s.wantResults(1+offered+4000, 0, 0)
	if offered < 4000 || offered > 4192 {
		t.Errorf("%d records of denials wait, want half of 8192", offered)
	}
}

// TestLeftOutRecord is one line, of an interval, that is written without a call.
func TestLeftOutRecord(t *testing.T) {
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
