// Package reload does something again whenever the files that it was done from change.
package reload

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long files must stay as they are before they are read: somebody
	// may still be writing. settleTries bounds the wait.
	settleTime  = 50 * time.Millisecond
	settleTries = 10
	// pollInterval is how often files are looked at whose changes the system does not
	// report, as on some network file systems.
	pollInterval = 5 * time.Second
)

// Load reads the files, and says before each which one it is about to read.
type Load func(reading func(path string)) error

// Loop keeps something true to the files that it was loaded from: regular files,
// symbolic links to them, and the directories of links that Kubernetes mounts.
type Loop struct {
	load    Load
	logger  *slog.Logger
	watcher *fsnotify.Watcher
	seen    stamps // the files as they were before the last Load
}

// New calls load for the first time. It fails with load's error, or when the system
// cannot watch files. Close the Loop, or Run it.
func New(load Load, logger *slog.Logger) (*Loop, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	l := &Loop{load: load, logger: logger, watcher: watcher}
	if err := l.again(); err != nil {
		_ = watcher.Close()
		return nil, err
	}
	return l, nil
}

// Close ends a Loop that does not run.
func (l *Loop) Close() { _ = l.watcher.Close() }

// Run calls load again when a file has changed and settled, and whenever something
// comes from now, until ctx ends. What load's errors mean is load's affair: the files
// of a Load that failed are watched too.
func (l *Loop) Run(ctx context.Context, now <-chan struct{}) {
	defer l.Close()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		// First what changed while it was read, or before the system watched it.
		if l.settle(ctx) {
			_ = l.again()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-now:
			_ = l.again()
		case <-l.watcher.Events:
		case err := <-l.watcher.Errors:
			l.logger.Warn("watching files failed; they are looked at every few seconds", "type", fmt.Sprintf("%T", err))
		case <-poll.C:
		}
	}
}

// settle waits until the files stay as they are, and says whether they differ from what
// the last Load saw.
func (l *Loop) settle(ctx context.Context) (changed bool) {
	files := slices.Collect(maps.Keys(l.seen))
	now := take(files)
	if maps.Equal(now, l.seen) {
		return false
	}
	for range settleTries {
		timer := time.NewTimer(settleTime)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		later := take(files)
		if maps.Equal(later, now) {
			break
		}
		now = later
	}
	return true
}

// again calls load, and watches what that read.
func (l *Loop) again() error {
	before, read := take(slices.Collect(maps.Keys(l.seen))), stamps{}
	err := l.load(func(path string) { read[path] = stampOf(path) })
	if err != nil {
		// A file that is broken may name fewer files than before: those count all the same.
		for path, stamp := range before {
			if _, found := read[path]; !found {
				read[path] = stamp
			}
		}
	}
	l.seen = read
	l.watch()
	return err
}

// watch has the system report changes in the directories of the files, and in those
// that their links lead to.
func (l *Loop) watch() {
	wanted := map[string]bool{}
	for path := range l.seen {
		wanted[filepath.Dir(path)] = true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			wanted[filepath.Dir(target)] = true
		}
	}
	for _, directory := range l.watcher.WatchList() {
		if !wanted[directory] {
			_ = l.watcher.Remove(directory) // it may be gone already
		}
	}
	for directory := range wanted {
		if err := l.watcher.Add(directory); err != nil {
			l.logger.Debug("a directory cannot be watched; its files are looked at every few seconds", "directory", directory)
		}
	}
}
