package reload

import (
	"os"
	"syscall"
)

// changeTime returns when a file's content, permissions or owner last changed, in nanoseconds.
func changeTime(info os.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ctim.Nano()
	}
	return 0
}
