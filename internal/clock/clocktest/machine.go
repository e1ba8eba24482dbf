// Package clocktest provides a simulated machine whose clocks tests can set.
package clocktest

import (
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/clock"
)

// Machine simulates the boot clock and the wall clock of a machine. Both clocks advance with Go's
// clock, or with the bubble's clock in a test with testing/synctest.
type Machine struct {
	started           time.Time
	slept, correction atomic.Int64
}

// NewMachine returns a simulated machine that starts at the current time.
func NewMachine() *Machine { return &Machine{started: time.Now()} }

// Sleep simulates that the machine sleeps for the duration d, while Go's clock and timers stop.
func (m *Machine) Sleep(d time.Duration) { m.slept.Add(int64(d)) }

// Correct adds d, which may be negative, to the machine's wall clock.
func (m *Machine) Correct(d time.Duration) { m.correction.Add(int64(d)) }

// WallTime returns the reading of the machine's wall clock.
func (m *Machine) WallTime() time.Time { return time.Unix(0, m.wall()) }

// Clock returns a Clock that reads the clocks of the machine.
func (m *Machine) Clock() *clock.Clock { return clock.NewFrom(m.boot, m.wall) }

func (m *Machine) boot() int64 { return int64(time.Since(m.started)) + m.slept.Load() }

func (m *Machine) wall() int64 {
	return time.Now().UnixNano() + m.slept.Load() + m.correction.Load()
}
