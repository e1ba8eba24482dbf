//go:build !linux

package clock

import "time"

var started = time.Now()

// boot returns how long the process has been running. The result may lack the time during which the
// machine slept; a Clock then detects the sleep by the wall clock.
func boot() int64 { return int64(time.Since(started)) }
