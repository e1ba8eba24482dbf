// Package reload reloads something whenever the files from which it was loaded change.
package reload

import (
	"context"
	"maps"
	"os"
	"time"
)

const (
	// pollInterval is the shortest pause between two checks of the files. The pause is longer if
	// checks are slow: 20 times the duration of the last check, up to maxInterval.
	pollInterval = 500 * time.Millisecond
	maxInterval  = 5 * time.Second
	// settleTime is how long files must stay unchanged before they are loaded, because a program
	// may still be writing them. settleTries limits how often the files are checked for that.
	settleTime  = 50 * time.Millisecond
	settleTries = 10
)

// Load loads something from files. Before Load reads a file, it calls the function reading with
// the file's path.
type Load func(reading func(path string)) error

// Loop reloads something whenever its files change. The files can be regular files, symbolic
// links to regular files, and files in volumes that Kubernetes mounts, whose directories are
// symbolic links.
type Loop struct {
	load Load
	seen stamps // states of the files before the last Load
}

// New calls load for the first time, and returns the error of load.
func New(load Load) (*Loop, error) {
	l := &Loop{load: load}
	return l, l.reload()
}

// Run calls load whenever files have changed, and for each value received from now, until ctx
// ends. Run ignores the errors of load. After a failed load, Run also watches the files of the
// previous load.
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

// changed reports whether the files have changed since the last Load. Before changed returns
// true, it waits until the files stop changing. changed returns false when ctx ends.
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

// reload calls load, and records the states of the files that load reads.
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

// stamps are the states of files, by path. The state of a missing file is nil.
type stamps map[string]os.FileInfo

// again returns the current states of the same files.
func (s stamps) again() stamps {
	now := stamps{}
	for path := range s {
		now[path] = stampOf(path)
	}
	return now
}

// equal reports whether the files have not changed. A file has changed if it was written,
// replaced or removed, or if its permissions or, on Linux, its owner were changed.
func (s stamps) equal(other stamps) bool {
	return maps.EqualFunc(s, other, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() &&
			a.ModTime().Equal(b.ModTime()) && changeTime(a) == changeTime(b)
	})
}

// stampOf returns the state of a file, after following symbolic links.
func stampOf(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}
