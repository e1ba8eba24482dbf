// Package reload loads something again whenever the files that it was loaded from change.
package reload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long files must stay unchanged before they are loaded: a program may
	// still be writing. settleTries bounds the wait.
	settleTime  = 50 * time.Millisecond
	settleTries = 10
	// pollInterval is how often files are checked for changes that the system does not report,
	// such as those on some network file systems.
	pollInterval = 5 * time.Second
)

// Load loads something from files. It calls reading with the path of each file before it reads
// the file.
type Load func(reading func(path string)) error

// Loop loads something again whenever its files change: regular files, symbolic links to them,
// and files in volumes that Kubernetes mounts, whose directories are links.
type Loop struct {
	load    Load
	logger  *slog.Logger
	watcher *fsnotify.Watcher // nil: the Loop polls
	seen    stamps            // of the files before the last Load
}

// New calls load for the first time, and returns its error. Where the system cannot report
// changes of files, the Loop polls them. Call Run or Close afterwards.
func New(load Load, logger *slog.Logger) (*Loop, error) {
	l := &Loop{load: load, logger: logger}
	var err error
	if l.watcher, err = fsnotify.NewWatcher(); err != nil {
		l.poll(err)
	}
	if err := l.reload(); err != nil {
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

// poll gives up the watcher, and logs why. It quotes only an error of the system itself.
func (l *Loop) poll(err error) {
	l.Close()
	cause := fmt.Sprintf("%T", err)
	var system syscall.Errno
	if errors.As(err, &system) {
		cause = system.Error()
	}
	l.logger.Warn("the system does not report every change of the configuration's files: they are checked every few seconds instead",
		"interval", pollInterval, "error", cause, "hint", "raise fs.inotify.max_user_instances or fs.inotify.max_user_watches")
}

// Run calls load when files have changed, and for each value from now, until ctx ends. It
// ignores the errors of load; after an error it also watches the files of the load before.
func (l *Loop) Run(ctx context.Context, now <-chan struct{}) {
	defer l.Close()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		// The files may also have changed during the load, or before the system watched them.
		if l.changed(ctx) {
			_ = l.reload()
			continue
		}
		watcher := cmp.Or(l.watcher, &fsnotify.Watcher{}) // one without events
		select {
		case <-ctx.Done():
			return
		case <-now:
			_ = l.reload()
		case err := <-watcher.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) { // after lost events, the files are compared as always
				l.poll(err)
			}
		case <-watcher.Events:
		case <-ticker.C:
		}
	}
}

// changed reports whether the files differ from those of the last Load. It waits until they
// settle, and reports false when ctx ends.
func (l *Loop) changed(ctx context.Context) bool {
	before := l.seen
	for range settleTries {
		now := l.seen.again()
		if maps.Equal(now, before) {
			break
		}
		before = now
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return false
		}
	}
	return !maps.Equal(before, l.seen)
}

// reload calls load, and watches the files that it read.
func (l *Loop) reload() error {
	before, read := l.seen.again(), stamps{}
	err := l.load(func(path string) { read[path] = stampOf(path) })
	l.seen = read
	if err != nil { // a broken file may name fewer files than before
		maps.Copy(before, read)
		l.seen = before
	}
	if l.watcher != nil {
		l.watch()
	}
	return err
}

// watch watches the directories of the files, and those that links lead to.
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
			_ = l.watcher.Remove(directory) // it may not exist any more
		}
	}
	for directory := range wanted {
		if err := l.watcher.Add(directory); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.poll(err)
			return
		}
	}
}

// stamps are the states of files, by path. The state of a missing file is zero. It differs after
// a file was written, replaced, renamed, or given other permissions.
type stamps map[string]syscall.Stat_t

// again returns the states of the same files now.
func (s stamps) again() stamps {
	now := stamps{}
	for path := range s {
		now[path] = stampOf(path)
	}
	return now
}

// stampOf returns the state of a file. It follows links.
func stampOf(path string) syscall.Stat_t {
	info, err := os.Stat(path)
	if err != nil {
		return syscall.Stat_t{}
	}
	stamp := *info.Sys().(*syscall.Stat_t)
	stamp.Atim = syscall.Timespec{} // reading is no change
	return stamp
}
