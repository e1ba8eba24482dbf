// Package reload loads something again whenever the files that it was loaded from change.
package reload

import (
	"context"
	"maps"
	"os"
	"time"
)

const (
	// pollInterval is the pause between two checks of the files. It is 20 times as long as the last
	// check took, if that is longer, but at most maxInterval.
	pollInterval = 500 * time.Millisecond
	maxInterval  = 5 * time.Second
	// settleTime is how long files must stay unchanged before they are loaded: a program may
	// still be writing. settleTries bounds the wait.
	settleTime  = 50 * time.Millisecond
	settleTries = 10
)

// Load loads something from files. It calls reading with the path of each file before it reads
// the file.
type Load func(reading func(path string)) error

// Loop loads something again whenever its files change: regular files, symbolic links to them,
// and files in volumes that Kubernetes mounts, whose directories are links.
type Loop struct {
	load Load
	seen stamps // of the files before the last Load
}

// New calls load for the first time, and returns its error.
func New(load Load) (*Loop, error) {
	l := &Loop{load: load}
	return l, l.reload()
}

// Run calls load when files have changed, and for each value from now, until ctx ends. It
// ignores the errors of load; after an error it also checks the files of the load before.
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

// changed reports whether the files differ from those of the last Load. It waits until they
// settle, and reports false when ctx ends.
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

// reload calls load, and remembers the files that it read.
func (l *Loop) reload() error {
	before, read := l.seen.again(), stamps{}
	err := l.load(func(path string) { read[path] = stampOf(path) })
	l.seen = read
	if err != nil { // a broken file may name fewer files than before
		maps.Copy(before, read)
		l.seen = before
	}
	return err
}

// stamps are the states of files, by path. The state of a missing file is nil.
type stamps map[string]os.FileInfo

// again returns the states of the same files now.
func (s stamps) again() stamps {
	now := stamps{}
	for path := range s {
		now[path] = stampOf(path)
	}
	return now
}

// equal reports whether the files are the same and have not changed: they were not written,
// replaced, removed, or given other permissions or, on Linux, another owner.
func (s stamps) equal(other stamps) bool {
	return maps.EqualFunc(s, other, func(a, b os.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() &&
			a.ModTime().Equal(b.ModTime()) && changeTime(a) == changeTime(b)
	})
}

// stampOf returns the state of a file. It follows links.
func stampOf(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}
