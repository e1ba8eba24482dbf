package clientworld

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A count of calls is judged after this time, in which calls that should not be made can arrive.
const settle = 150 * time.Millisecond

func (w *world) wait(ctx context.Context, want *waiting) error {
	watching := []string{}
	for _, ids := range want.Watching {
		watching = append(watching, expandIDs(ids)...)
	}
	slices.Sort(watching)
	limit := patience
	if want.Within.set {
		limit = want.Within.Duration
	}
	holds := w.board.await(ctx, limit, func() bool {
		for kind, least := range want.Calls {
			if len(w.broker.recent(kind)) < least {
				return false
			}
		}
		return (want.Watching == nil || slices.Equal(w.broker.watching(), watching)) &&
			(want.Streams == nil || len(w.broker.streams) == *want.Streams)
	})
	if holds {
		return pause(ctx, settle) // the client has to receive what the broker has sent
	}
	var now string
	w.board.read(func() {
		now = fmt.Sprintf("%d streams are open, and watch %v", len(w.broker.streams), w.broker.watching())
	})
	return fmt.Errorf("this did not happen within %v; %s", limit, now)
}

// recent returns the calls of a kind that have not been judged. The caller holds the board's lock.
func (b *broker) recent(kind string) (found []call) {
	for _, c := range b.calls[b.mark:] {
		if c.kind == kind {
			found = append(found, c)
		}
	}
	return found
}

// watching returns the IDs whose state the open streams have delivered, sorted, with duplicates.
// The caller holds the board's lock.
func (b *broker) watching() []string {
	ids := []string{}
	for _, s := range b.streams {
		if s.delivered {
			ids = append(ids, s.ids...)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *world) judgeCalls(ctx context.Context, want *expectedCalls) error {
	counts := map[string]*bounds{kindGet: want.Get, kindWatch: want.Watch, kindReport: want.Report, kindUsage: want.Usage}
	w.board.await(ctx, patience, func() bool {
		for kind, b := range counts {
			if b != nil && len(w.broker.recent(kind)) < b.least {
				return false
			}
		}
		return true
	})
	if err := pause(ctx, settle); err != nil {
		return err
	}
	var err error
	w.board.update(func() {
		err = w.broker.judge(counts, want)
		w.broker.mark, w.broker.marked = len(w.broker.calls), time.Now()
	})
	if err == nil {
		err = w.violation()
	}
	return err
}

// judge compares the calls since the last time with those expected. The caller holds the board's
// lock.
func (b *broker) judge(counts map[string]*bounds, want *expectedCalls) error {
	for kind, wanted := range counts {
		if n := len(b.recent(kind)); wanted != nil && (n < wanted.least || n > wanted.most) {
			return fmt.Errorf("the broker received %d calls of %s, want %s", n, kind, wanted)
		}
	}
	if interval := want.WatchInterval.Duration; interval > 0 {
		passed := time.Since(b.marked)
		if n, most := len(b.recent(kindWatch)), 1+int(passed/interval); n > most {
			return fmt.Errorf("the broker received %d calls of watch in %v, want at most one per %v, which is %d", n, passed, interval, most)
		}
	}
	for kind, wanted := range map[string][]string{kindReport: want.Versions, kindUsage: want.Used} {
		var got []string
		for _, c := range b.recent(kind) {
			got = append(got, c.versions...)
		}
		slices.Sort(got)
		slices.Sort(wanted)
		if wanted != nil && !slices.Equal(got, wanted) {
			return fmt.Errorf("the calls of %s have the versions %q, want %q", kind, got, wanted)
		}
	}
	if err := b.judgeStatuses(want.Statuses); err != nil {
		return err
	}
	for _, c := range b.calls[b.mark:] {
		if want.Token != "" && c.token != want.Token {
			return fmt.Errorf("a call of %s has the token %q, want %q", c.kind, c.token, want.Token)
		}
		if want.Certificate != "" && c.certificate != want.Certificate {
			return fmt.Errorf("a call of %s has the client certificate %q, want %q", c.kind, c.certificate, want.Certificate)
		}
	}
	return nil
}

// judgeStatuses compares the HTTP statuses in reports. The caller holds the board's lock.
func (b *broker) judgeStatuses(want []int32) error {
	var got []int32
	for _, c := range b.recent(kindReport) {
		got = append(got, c.httpStatus)
	}
	if want != nil && !slices.Equal(got, want) {
		return fmt.Errorf("the reports have the HTTP statuses %v, want %v", got, want)
	}
	return nil
}
