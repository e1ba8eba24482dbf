package redisstore

import (
	"sync"
	"time"
)

// beat is how often a schedule looks whether the process runs.
const beat = 20 * time.Millisecond

// schedule measures for how long the process ran since watchSchedule. A process that gets no
// core cannot read a reply that has arrived, so that time does not count against Redis.
type schedule struct {
	mu    sync.Mutex
	timer *time.Timer // nil: stopped
	ran   time.Duration
}

// watchSchedule returns a schedule. The caller stops it.
func watchSchedule() *schedule {
	s := &schedule{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(beat, s.beat)
	return s
}

// beat counts one beat, however late it is.
func (s *schedule) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return
	}
	s.ran += beat
	s.timer.Reset(beat)
}

// stop ends the measurement, and returns for how long the process ran.
func (s *schedule) stop() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.timer = nil
	return s.ran
}
