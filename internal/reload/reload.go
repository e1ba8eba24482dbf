// Package reload watches the files from which something was loaded, and loads it again when the
// files change.
package reload

import (
	"context"
	"maps"
	"os"
	"time"
)

const (
	// pollInterval is the shortest pause between two checks of the files. Slow checks make the
	// pause longer: 20 times the duration of the last check, up to maxInterval.
	pollInterval = 500 * time.Millisecond
	maxInterval  = 5 * time.Second
	// settleTime is how long files must stay unchanged before they are loaded, because a program
	// may still be writing them. If files change in this time, the loop waits again, at most
	// settleTries times.
	settleTime  = 50 * time.Millisecond
	settleTries = 10
)

// Load loads something from files, and calls `reading` with the path of each file before it reads
// the file.
type Load func(reading func(path string)) error

// Loop calls a load function again whenever the loaded files change. A Loop supports regular files,
// symbolic links to regular files, and the volumes of Kubernetes, in which the directory of the
// files is a symbolic link.
type Loop struct {
	load Load
	seen stamps // the states of the files before the last load
}

// New calls the load function for the first time, and returns the error of the load function.
func New(load Load) (*Loop, error) {
	l := &Loop{load: load}
	return l, l.reload()
}

// Run calls the load function whenever files have changed, and for each value from the channel
// `now`, until the context ends. Run ignores the errors of the load function. After a failed load,
// Run also watches the files of the previous load.
func (l *Loop) Run(ctx context.Context, now <-chan struct{}) {
	for ctx.Err() == nil {
		began := time.Now()
		if l.changed(ctx) {
			_ = l.reload()
			continue // the files may have changed during the load
		}
		select {
		case <-ctx.Done():
		case <-now:
			_ = l.reload()
		case <-time.After(min(max(pollInterval, 20*time.Since(began)), maxInterval)):
		}
	}
}

// changed reports whether the files have changed since the last load, after waiting until the files
// stop changing. If the context ends during the wait, changed returns false.
func (l *Loop) changed(ctx context.Context) bool {
	before := l.seen
	for range settleTries {
		now := l.seen.again()
		if now.equal(before) {
			break
		}
		before = now
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return false
		}
	}
	return !before.equal(l.seen)
}

func (l *Loop) reload() error {
	before, read := l.seen.again(), stamps{}
	err := l.load(func(path string) { read[path] = stampOf(path) })
	l.seen = read
	if err != nil { // a faulty file may refer to fewer files than before
		maps.Copy(before, read)
		l.seen = before
	}
	return err
}

// stamps are the states of files by path. The state of a missing file is nil.
type stamps map[string]os.FileInfo

func (s stamps) again() stamps {
	now := stamps{}
	for path := range s {
		now[path] = stampOf(path)
	}
	return now
}

// equal reports whether no file has changed. A file changes when it is written, replaced or
// removed, or when its permissions change. On Linux, a file also changes when its owner changes.
func (s stamps) equal(other stamps) bool {
	return maps.EqualFunc(s, other, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() &&
			a.ModTime().Equal(b.ModTime()) && changeTime(a) == changeTime(b)
	})
}

func stampOf(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}
