// Package clocktest provides a simulated machine whose clocks tests can set.
package clocktest

import (
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/clock"
)

// Machine simulates a machine's boot clock and wall clock. Both advance with Go's clock. In a
// test with testing/synctest, that is the clock of the bubble.
type Machine struct {
	started           time.Time
	slept, correction atomic.Int64
}

// NewMachine returns a machine that starts now.
func NewMachine() *Machine { return &Machine{started: time.Now()} }

// Sleep simulates a sleep of the machine for the time d. Go's clock and timers do not advance.
func (m *Machine) Sleep(d time.Duration) { m.slept.Add(int64(d)) }

// Correct adds d to the wall clock. d may be negative.
func (m *Machine) Correct(d time.Duration) { m.correction.Add(int64(d)) }

// WallTime returns the reading of the wall clock.
func (m *Machine) WallTime() time.Time { return time.Unix(0, m.wall()) }

// Clock returns a Clock that reads the clocks of the machine.
func (m *Machine) Clock() *clock.Clock { return clock.NewFrom(m.boot, m.wall) }

func (m *Machine) boot() int64 { return int64(time.Since(m.started)) + m.slept.Load() }

func (m *Machine) wall() int64 {
	return time.Now().UnixNano() + m.slept.Load() + m.correction.Load()
}
