//go:build !linux

package processtest

import "os/exec"

// endWithParent does nothing: only Linux supports it.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once: on these systems it cannot wait for the effect of the signal.
func awaitStopped(int) error { return nil }
