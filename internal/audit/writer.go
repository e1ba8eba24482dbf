package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// queueSize is how many lines wait in best effort before some are dropped.
const queueSize = 8192

// closePatience is how long Close waits for lines that nobody takes.
const closePatience = 2 * time.Second

// Writer is a Log of JSON lines. Close ends it.
type Writer struct {
	options   Options
	reopening atomic.Bool
	file      atomic.Pointer[os.File] // nil: options.Output
	queue     chan []byte             // nil: Write writes itself
	drained   chan struct{}

	closing sync.RWMutex // held for reading while a line is put into the queue
	closed  bool         // guarded by closing

	failing  atomic.Bool // the last line could not be written
	dropping atomic.Bool // lines were dropped since the queue was empty

	mu   sync.Mutex // guards what follows, and keeps lines apart
	torn bool       // the last line is not whole
	// stale says that the file should have been opened anew, and could not be.
	stale bool
}

// Open returns a Writer. It fails when the file cannot be written to.
func Open(options Options) (*Writer, error) {
	w := &Writer{options: options.withDefaults()}
	if options.Path != "" {
		file, torn, err := openFile(options.Path)
		if err != nil {
			return nil, err
		}
		w.file.Store(file)
		w.torn = torn
	}
	if options.BestEffort {
		w.queue, w.drained = make(chan []byte, queueSize), make(chan struct{})
		go w.drain()
	}
	return w, nil
}

// Write writes a record, or has it wait for its turn. In best effort it does not fail.
// After Close a file takes no record any more: it fails, or drops it.
func (w *Writer) Write(ctx context.Context, record Record) error {
	encoded, err := w.encode(ctx, record)
	if err != nil { // a year beyond 9999
		w.options.Observe(Failed)
		return fmt.Errorf("encode an audit record: %w", err)
	}
	if w.queue == nil {
		return w.put(encoded)
	}
	if !w.enqueue(encoded) {
		w.options.Observe(Dropped)
		if !w.dropping.Swap(true) {
			w.options.Logger.Error("audit records are dropped: they come faster than they can be written")
		}
	}
	return nil
}

// enqueue says whether the queue has room for a line.
func (w *Writer) enqueue(encoded []byte) bool {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return false
	}
	select {
	case w.queue <- encoded:
		return true
	default:
		return false
	}
}

// drain writes the lines of the queue until it is closed.
func (w *Writer) drain() {
	defer close(w.drained)
	for encoded := range w.queue {
		_ = w.put(encoded)
		if len(w.queue) == 0 && w.dropping.Swap(false) {
			w.options.Logger.Info("audit records are written again")
		}
	}
}

// put writes one line. A line that was cut short before gets its end first.
func (w *Writer) put(encoded []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reopen()
	if w.torn {
		encoded = append([]byte{'\n'}, encoded...)
	}
	output := w.options.Output
	if file := w.file.Load(); file != nil {
		output = file
	}
	n, err := output.Write(encoded)
	if n > 0 {
		w.torn = encoded[n-1] != '\n'
	}
	if err == nil && n < len(encoded) {
		err = io.ErrShortWrite
	}
	w.tell(err)
	return err
}

// tell says what became of a line.
func (w *Writer) tell(err error) {
	if err != nil {
		w.options.Observe(Failed)
		if !w.failing.Swap(true) {
			w.options.Logger.Error("audit records cannot be written", "error", err)
		}
		return
	}
	w.options.Observe(Written)
	if w.failing.Swap(false) {
		w.options.Logger.Info("audit records can be written again")
	}
}

// Reopen has the next record go to a file that is opened anew: the one before was
// renamed, to be put away.
func (w *Writer) Reopen() {
	if w != nil {
		w.reopening.Store(true)
	}
}

// reopen does what Reopen asked for. When the file cannot be opened the one before goes
// on, and the next record tries again. The caller holds w.mu.
func (w *Writer) reopen() {
	before := w.file.Load()
	if before == nil || !w.reopening.Swap(false) {
		return
	}
	file, torn, err := openFile(w.options.Path)
	if err != nil {
		w.reopening.Store(true)
		if !w.stale {
			w.stale = true
			w.options.Logger.Error("the audit file cannot be opened again: the one before is used", "error", err)
		}
		return
	}
	w.file.Store(file)
	_ = before.Close()
	w.torn, w.stale = torn, false
}

// Close writes what waits, for 2 seconds at most, and closes the file. It fails when
// something is left. It may be called again, and then does nothing; Reopen and Close of a
// nil Writer do nothing either.
func (w *Writer) Close() error {
	if w == nil || w.isClosed() {
		return nil
	}
	var left error
	if w.queue != nil {
		close(w.queue) // nobody puts anything into it any more
		select {
		case <-w.drained:
		case <-w.options.Clock.After(closePatience):
			left = fmt.Errorf("%d audit records are not written", len(w.queue)+1)
		}
	}
	// A write that hangs does not keep the file open: it has no lock on it.
	if file := w.file.Load(); file != nil {
		return errors.Join(left, file.Close())
	}
	return left
}

// isClosed says whether the Writer was closed before, and closes it.
func (w *Writer) isClosed() bool {
	w.closing.Lock()
	defer w.closing.Unlock()
	before := w.closed
	w.closed = true
	return before
}
