package redisstore

import (
	"sync"
	"time"
)

// beat is the interval at which a runMeter counts running time.
const beat = 20 * time.Millisecond

// runMeter measures for how long the process runs during a watch. While the process gets no CPU time,
// it counts one beat at most, however late its timer is. The zero value is ready.
type runMeter struct {
	mu      sync.Mutex
	watches int
	ran     time.Duration
	counted time.Time // until when ran is counted
	timer   *time.Timer
}

// watch is one measurement of a runMeter.
type watch struct {
	meter *runMeter
	began time.Time
	ran   time.Duration // until it began
}

// now is the time by Go's clock, whatever the clock of the Store: CPU time does not depend on it.
var now = time.Now //nolint:forbidigo // see above

// watch begins a measurement. The caller stops it.
func (m *runMeter) watch() watch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watches++; m.watches == 1 {
		m.counted = now()
		m.timer = time.AfterFunc(beat, m.beat)
	}
	m.count()
	return watch{meter: m, began: m.counted, ran: m.ran}
}

// count counts the time until now. The caller holds m.mu.
func (m *runMeter) count() {
	until := now()
	m.ran += min(until.Sub(m.counted), beat)
	m.counted = until
}

func (m *runMeter) beat() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watches > 0 {
		m.count()
		m.timer.Reset(beat)
	}
}

// stop ends the measurement. It returns for how long the process ran since it began, and how
// long ago that was.
func (w watch) stop() (ran, took time.Duration) {
	m := w.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count()
	if m.watches--; m.watches == 0 {
		m.timer.Stop()
	}
	return m.ran - w.ran, m.counted.Sub(w.began)
}
