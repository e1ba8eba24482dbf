package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidDumps also holds where the system hands core dumps to a program, for which the limit
// does not count. Other processes of the same user cannot look at the memory either.
func forbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
