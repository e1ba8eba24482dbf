//go:build !linux

package clock

import "time"

// started is when the process started.
var started = time.Now()

// boot returns how long the process has been running. The result may not include sleep. A Clock
// detects such a sleep by the wall clock.
func boot() int64 { return int64(time.Since(started)) }
