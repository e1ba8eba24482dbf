package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"
)

// Counter counts events, as the counters of Prometheus do.
type Counter interface{ Inc() }

// noCounter counts nothing.
type noCounter struct{}

// Inc implements Counter.
func (noCounter) Inc() {}

// Options configure a Writer. Either Path or Output is required.
type Options struct {
	// Path is the audit file, to which lines are appended. The file is created with mode 0600.
	Path string
	// Output receives the lines if Path is empty.
	Output io.Writer
	// BestEffort makes Write return at once: lines for which the queue has no room are dropped.
	// Without BestEffort, Write returns when its line is written.
	BestEffort bool
	// Clock supplies the time in the lines. Default: the system clock.
	Clock clockwork.Clock
	// Logger gets a message when lines begin to be lost, and when they are written again.
	// Default: slog.Default.
	Logger *slog.Logger
	// TraceID returns the ID of a call's trace; empty: the call has no trace. Nil: lines have no
	// trace IDs.
	TraceID func(context.Context) string
	// Written, Dropped and Failed count records. Dropped counts records for which the queue had
	// no room. Failed counts records whose line was not written completely in time. Default: no
	// records are counted.
	Written, Dropped, Failed Counter
}

// Open returns a Writer. Open fails if the audit file cannot be opened for writing.
func Open(options Options) (*Writer, error) {
	options.Clock = cmp.Or(options.Clock, clockwork.NewRealClock())
	options.Logger = cmp.Or(options.Logger, slog.Default())
	for _, counter := range []*Counter{&options.Written, &options.Dropped, &options.Failed} {
		*counter = cmp.Or(*counter, Counter(noCounter{}))
	}
	w := &Writer{
		options: options,
		queue:   make(chan *line, queueSize),
		ended:   make(chan struct{}),
		drained: make(chan struct{}),
	}
	w.lines.New = func() any { return &line{late: time.NewTimer(maxPatience), result: make(chan error, 1)} }
	if options.Path != "" {
		if err := w.open(); err != nil {
			return nil, err
		}
	}
	go w.run()
	return w, nil
}

// closePatience is the maximum time that Close waits for lines to be written.
const closePatience = 2 * time.Second

// Close writes the lines that wait, for 2 seconds at most, and closes the file. Close fails if
// some lines could not be written. A second Close does nothing. Close and Reopen of a nil Writer
// do nothing either.
func (w *Writer) Close() error {
	if w == nil || w.closed.Swap(true) {
		return nil
	}
	close(w.ended) // calls stop waiting for room in the queue
	w.adding.Lock()
	close(w.queue)
	w.adding.Unlock()
	var left error
	select {
	case <-w.drained:
	case <-w.options.Clock.After(closePatience):
		left = fmt.Errorf("%d audit records are not written", w.waiting())
	}
	if file := w.file.Load(); file != nil {
		return errors.Join(left, file.Close()) // closing the file makes a write that hangs return
	}
	return left
}

// waiting returns the number of lines that are not written.
func (w *Writer) waiting() int { return len(w.queue) + int(w.writing.Load()) }

// Reopen makes the Writer open the file at Path again for the next record, because the previous
// file was renamed, to be archived.
func (w *Writer) Reopen() {
	if w != nil {
		w.reopening.Store(true)
	}
}

// reopen opens the audit file again, as Reopen requested. If the file cannot be opened, the
// previous file stays in use, and the Writer tries again at the next record.
func (w *Writer) reopen() {
	if w.options.Path == "" {
		return
	}
	w.reopening.Store(false)
	err := w.open()
	if err != nil {
		w.reopening.Store(true)
		if !w.stale {
			w.options.Logger.Error("the audit file cannot be opened again: the previous file stays in use", "error", err)
		}
	}
	w.stale = err != nil
}

// open opens the file at Path for appending, and closes the previous file. A named pipe that no
// process reads is an error: open does not wait for a reader.
func (w *Writer) open() error {
	file, err := os.OpenFile(w.options.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit file: %w", err)
	}
	w.torn = endsTorn(w.options.Path)
	if before := w.file.Swap(file); before != nil {
		_ = before.Close()
	}
	return nil
}

// endsTorn reports whether the last line of a file is incomplete. endsTorn returns false for a
// path that is not a regular file, or that cannot be read.
func endsTorn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	file, err := os.Open(path) //nolint:gosec // the operator configures the path
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
