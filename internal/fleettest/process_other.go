//go:build !linux

package fleettest

import "os/exec"

// endWithParent does nothing: other kernels than Linux do not offer it. There a process
// outlives a test binary that is killed.
func endWithParent(*exec.Cmd) {}
