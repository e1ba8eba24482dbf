// Package reload does something again whenever the files that it was done from change.
package reload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
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
	watcher *fsnotify.Watcher // nil: the system reports no changes, and the Loop polls
	seen    stamps            // the files as they were before the last Load
	warned  bool              // that some changes are found by polling alone
}

// New calls load for the first time, and returns load's error. A system that cannot report
// changes of files is no error: the Loop polls the files. Close the Loop, or Run it.
func New(load Load, logger *slog.Logger) (*Loop, error) {
	l := &Loop{load: load, logger: logger}
	var err error
	if l.watcher, err = fsnotify.NewWatcher(); err != nil {
		l.watcher = nil
		l.warnOfPolling(err)
	}
	if err := l.again(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close ends a Loop that does not run.
func (l *Loop) Close() {
	if l.watcher != nil {
		_ = l.watcher.Close()
		l.watcher = nil
	}
}

// warnOfPolling logs once why changes of files are not reported at once. Only an error of the
// system itself is quoted.
func (l *Loop) warnOfPolling(err error) {
	if l.warned {
		return
	}
	l.warned = true
	cause := fmt.Sprintf("%T", err)
	var system syscall.Errno
	if errors.As(err, &system) {
		cause = system.Error()
	}
	l.logger.Warn("the system does not report every change of the configuration's files: they are checked every few seconds instead",
		"interval", pollInterval, "error", cause, "hint", "raise fs.inotify.max_user_instances or fs.inotify.max_user_watches")
}

// reports returns the channels of the watcher, or nil ones without a watcher.
func (l *Loop) reports() (<-chan fsnotify.Event, <-chan error) {
	if l.watcher == nil {
		return nil, nil
	}
	return l.watcher.Events, l.watcher.Errors
}

// Run calls load again when a file has changed and settled, and whenever something
// comes from now, until ctx ends. What load's errors mean is load's affair: the files
// of a Load that failed are watched too.
func (l *Loop) Run(ctx context.Context, now <-chan struct{}) {
	defer l.Close()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	events, failures := l.reports()
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
		case <-events:
		case err := <-failures:
			if !errors.Is(err, fsnotify.ErrEventOverflow) { // after which the files are compared, as always
				l.warnOfPolling(err)
				l.Close()
				events, failures = nil, nil
			}
		case <-poll.C:
		}
	}
}

// settle waits until the files stay as they are, and reports whether they differ from what
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
// that their links lead to. Polling finds the changes that it cannot report.
func (l *Loop) watch() {
	if l.watcher == nil {
		return
	}
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
		if err := l.watcher.Add(directory); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.warnOfPolling(err)
		}
	}
}
