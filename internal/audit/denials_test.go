package audit_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
)

// tally is a Log that adds up what was left out.
type tally struct {
	mu      sync.Mutex
	records int
	leftOut int
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
	if log.records < 10_000 {
		t.Errorf("%d records before the end, want 10,000: what waits is bounded", log.records)
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
	await(t, "a line written", func() bool { return s.results.of(audit.Written) == 1 })
	const want = `{"time":"2026-03-01T12:01:00.000005Z","caller":"token:a","method":"token","address":"192.0.2.1:4",` +
		`"operation":"left_out","action":"use","credential_id":"","outcome":"RATE_LIMITED","left_out":3}` + "\n"
	if got := read(t, path); got != want {
		t.Errorf("the line is %s, want %s", got, want)
	}
}
