package redisstore

import (
	"sync"
	"time"
)

// beat is the interval at which a schedule counts running time.
const beat = 20 * time.Millisecond

// schedule measures for how long the process runs, while somebody watches. A process that gets
// no CPU time counts one beat at most, however late its timer is. The zero value is ready.
type schedule struct {
	mu      sync.Mutex
	watches int
	ran     time.Duration
	counted time.Time // until when ran is counted
	timer   *time.Timer
}

// watch is one measurement of a schedule.
type watch struct {
	schedule *schedule
	began    time.Time
	ran      time.Duration // until it began
}

// now is the time by Go's clock, whatever that of the Store is: the schedule is the process's own.
var now = time.Now //nolint:forbidigo // see above

// watch begins a measurement. The caller stops it.
func (s *schedule) watch() watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches++; s.watches == 1 {
		s.counted = now()
		s.timer = time.AfterFunc(beat, s.beat)
	}
	s.count()
	return watch{schedule: s, began: s.counted, ran: s.ran}
}

// count counts the time until now. The caller holds s.mu.
func (s *schedule) count() {
	until := now()
	s.ran += min(until.Sub(s.counted), beat)
	s.counted = until
}

func (s *schedule) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches > 0 {
		s.count()
		s.timer.Reset(beat)
	}
}

// stop ends the measurement. It returns for how long the process ran since it began, and how
// long ago that was.
func (w watch) stop() (ran, took time.Duration) {
	s := w.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count()
	if s.watches--; s.watches == 0 {
		s.timer.Stop()
	}
	return s.ran - w.ran, s.counted.Sub(w.began)
}
