package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// makeUndumpable also prevents dumps that the system pipes to a program: the limit does not
// apply to those. Other processes of the same user cannot read the memory either.
func makeUndumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
