// Package clocktest provides a machine whose clocks tests can set.
package clocktest

import (
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/clock"
)

// Machine has a boot clock and a wall clock. Both advance with Go's clock, which in a test of
// testing/synctest is the bubble's.
type Machine struct {
	started           time.Time
	slept, correction atomic.Int64
}

// NewMachine returns a machine that starts now.
func NewMachine() *Machine { return &Machine{started: time.Now()} }

// Sleep lets the machine sleep for the time d. Go's clock and timers do not advance.
func (m *Machine) Sleep(d time.Duration) { m.slept.Add(int64(d)) }

// Correct moves the wall clock by d, which may be negative.
func (m *Machine) Correct(d time.Duration) { m.correction.Add(int64(d)) }

// WallTime returns the reading of the wall clock.
func (m *Machine) WallTime() time.Time { return time.Unix(0, m.wall()) }

// Clock returns a Clock of the machine.
func (m *Machine) Clock() *clock.Clock { return clock.NewFrom(m.boot, m.wall) }

func (m *Machine) boot() int64 { return int64(time.Since(m.started)) + m.slept.Load() }

func (m *Machine) wall() int64 {
	return time.Now().UnixNano() + m.slept.Load() + m.correction.Load()
}
