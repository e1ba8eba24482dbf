//go:build !linux

package processtest

import "os/exec"

// endWithParent does nothing, because only Linux can end a process with its parent.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once, because there is no way on these systems to wait until SIGSTOP
// has suspended the process.
func awaitStopped(int) error { return nil }
