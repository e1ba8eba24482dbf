package main

import "golang.org/x/sys/unix"

// makeUndumpable also prevents dumps that the system pipes to a program: the limit does not
// apply to those. Other processes of the same user cannot read the memory either.
func makeUndumpable() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
