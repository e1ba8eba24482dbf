//go:build !linux

package processtest

import "os/exec"

// endWithParent does nothing, because only Linux can kill a process when the parent process
// ends.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once. On these systems there is no way to wait until SIGSTOP has
// suspended the process.
func awaitStopped(int) error { return nil }
