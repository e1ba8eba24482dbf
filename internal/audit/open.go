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

type noCounter struct{}

func (noCounter) Inc() {}

// Options configure a Writer. Either Path or Output is required.
type Options struct {
	// Path is the audit file, to which lines are appended. A missing file is created with mode
	// 0600.
	Path string
	// Output receives the audit lines if Path is empty.
	Output io.Writer
	// BestEffort makes Write return at once, and drop lines for which the queue has no room.
	// Without BestEffort, Write returns only after its line is written.
	BestEffort bool
	// Clock is the source of the time in lines, by default the system clock.
	Clock clockwork.Clock
	// Logger receives a message when audit lines begin to be lost, and another when audit lines are
	// written again. By default, Logger is slog.Default().
	Logger *slog.Logger
	// TraceID returns the ID of a call's trace, or an empty text if there is none. If TraceID is
	// nil, lines have no trace IDs.
	TraceID func(context.Context) string
	// Written, Dropped and Failed count records. Dropped counts records for which the queue had no
	// room, and Failed counts records whose line was not written completely in time. By default,
	// nothing is counted.
	Written, Dropped, Failed Counter
}

// Open returns a new Writer, or an error if the audit file cannot be opened for writing.
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

// closePatience is how long Close waits at most until all lines are written.
const closePatience = 2 * time.Second

// Close writes the lines that still wait, for which it takes at most 2 seconds, and closes the
// file. Close returns an error if some lines could not be written. A second call of Close does
// nothing. On a nil Writer, Close and Reopen do nothing.
func (w *Writer) Close() error {
	if w == nil || w.closed.Swap(true) {
		return nil
	}
	close(w.ended) // closing the channel makes calls stop waiting for room in the queue
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
		return errors.Join(left, file.Close()) // closing the file ends a write that hangs
	}
	return left
}

func (w *Writer) waiting() int { return len(w.queue) + int(w.writing.Load()) }

// Reopen makes the Writer open the file at Path again before it writes the next record. Call Reopen
// after the audit file was renamed, for example to archive it.
func (w *Writer) Reopen() {
	if w != nil {
		w.reopening.Store(true)
	}
}

// reopen opens the audit file again. If the file cannot be opened, the previous file stays in use,
// and the Writer tries again at the next record.
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

// open opens the audit file for appending, and closes the previous one. If the file is a named pipe
// that no process reads, open fails at once.
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

// endsTorn reports whether the last line of a file is incomplete. The result is false if the path
// is not a regular file, or cannot be read.
func endsTorn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	file, err := os.Open(path) //nolint:gosec // the path comes from the operator's configuration
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
