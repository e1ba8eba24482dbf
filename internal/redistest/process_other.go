//go:build !linux

package redistest

import "os/exec"

// endWithParent does nothing: other kernels than Linux do not offer it. There a process
// outlives a test binary that is killed.
func endWithParent(*exec.Cmd) {}

// awaitStopped returns at once: a signal that a process sends to another is here taken
// as received.
func awaitStopped(int) error { return nil }
