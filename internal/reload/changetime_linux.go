package reload

import (
	"os"
	"syscall"
)

// changeTime returns the time of the last change of a file's content, permissions or owner, in
// nanoseconds.
func changeTime(info os.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ctim.Nano()
	}
	return 0
}
