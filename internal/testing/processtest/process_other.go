//go:build !linux

package processtest

import "os/exec"

// endWithParent does nothing: other kernels than Linux do not offer it.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once: a signal that a process sends to another is here taken
// as received.
func awaitStopped(int) error { return nil }
