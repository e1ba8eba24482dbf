package reload

import (
	"os"
	"syscall"
)

// stamp tells two states of a file apart. The zero stamp is that of no file.
type stamp struct {
	device, inode uint64
	size          int64
	modified      int64 // nanoseconds
	changed       int64 // nanoseconds; of the inode, so that a rename counts
}

// stamps are those of some files, by their paths.
type stamps map[string]stamp

func take(paths []string) stamps {
	all := make(stamps, len(paths))
	for _, path := range paths {
		all[path] = stampOf(path)
	}
	return all
}

// stampOf follows links.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	made := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		made.device, made.inode = uint64(system.Dev), system.Ino //nolint:unconvert // int32 on some systems
		made.changed = system.Ctim.Nano()
	}
	return made
}
