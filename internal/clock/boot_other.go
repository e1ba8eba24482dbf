//go:build !linux

package clock

import "time"

// started is when the process started.
var started = time.Now()

// boot returns how long the process has been running. It may not count sleep; a Clock detects
// that by the wall clock.
func boot() int64 { return int64(time.Since(started)) }
