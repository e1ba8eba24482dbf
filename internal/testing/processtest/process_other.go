//go:build !linux

package processtest

import "os/exec"

// endWithParent does nothing, because only Linux can kill a process when its parent ends.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once, because these systems offer no way to wait for SIGSTOP.
func awaitStopped(int) error { return nil }
