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

// queueSize is how many lines wait to be written. Beyond that some are dropped in best
// effort, and calls wait otherwise.
const queueSize = 8192

const (
	// maxPatience is how long a Write waits for its line at most.
	maxPatience = 5 * time.Second
	// The last part of a call's deadline is kept for telling the caller why there is no
	// answer: maxReserve, or a quarter of what is left where that is less.
	maxReserve      = 200 * time.Millisecond
	reserveFraction = 4
)

// errLate is the end of a Write whose line was not written in its time.
var errLate = errors.New("the audit record is not written yet")

// closePatience is how long Close waits for lines that nobody takes.
const closePatience = 2 * time.Second

// Writer is a Log of JSON lines. One goroutine writes them all, so that an output that hangs
// holds nobody else. Close ends it.
type Writer struct {
	options   Options
	reopening atomic.Bool
	file      atomic.Pointer[os.File] // nil: options.Output
	queue     chan *entry
	drained   chan struct{}

	closing sync.RWMutex // held for reading while a line is put into the queue
	closed  atomic.Bool
	ended   chan struct{} // closed with that

	failing  atomic.Bool // the last line could not be written
	dropping atomic.Bool // lines were dropped since the queue was empty

	// What follows is that of the one goroutine.
	torn bool // the last line is not whole
	// stale says that the file should have been opened anew, and could not be.
	stale bool
}

// entry is a line that waits to be written.
type entry struct {
	line    []byte
	settled atomic.Bool // somebody has said what became of it
	done    chan error  // what became of it; it has room for that
}

// Open returns a Writer. It fails when the file cannot be written to.
func Open(options Options) (*Writer, error) {
	w := &Writer{options: options.withDefaults(), queue: make(chan *entry, queueSize), drained: make(chan struct{}), ended: make(chan struct{})}
	if options.Path != "" {
		file, torn, err := openFile(options.Path)
		if err != nil {
			return nil, err
		}
		w.file.Store(file)
		w.torn = torn
	}
	go w.drain()
	return w, nil
}

// Write writes a record, or in best effort has it wait for its turn, and then does not
// fail. It waits for 5 seconds at most, and ends shortly before the deadline of ctx. A line
// that was not written by then counts as failed, and is written whole once that is possible:
// the record of a call that came to nothing. When ctx has ended nobody gets an answer that
// had to be held back, and Write does not wait. After Close no record is taken any more: it
// fails, or is dropped.
func (w *Writer) Write(ctx context.Context, record Record) error {
	encoded, err := w.encode(ctx, record)
	if err != nil { // a year beyond 9999
		w.options.Observe(Failed)
		return fmt.Errorf("encode an audit record: %w", err)
	}
	e := &entry{line: encoded, done: make(chan error, 1)}
	if !w.options.BestEffort {
		return w.await(ctx, e)
	}
	if !w.enqueue(e, nil) {
		w.options.Observe(Dropped)
		if !w.dropping.Swap(true) {
			w.options.Logger.Error("audit records are dropped: they come faster than they can be written")
		}
	}
	return nil
}

// Offer has a record wait for its turn while no more than half of the queue is taken up, and
// says whether it does: the rest is for the records of calls. It does not wait.
func (w *Writer) Offer(record Record) bool {
	if len(w.queue) > queueSize/2 {
		return false
	}
	encoded, err := w.encode(context.Background(), record)
	if err != nil { // a year beyond 9999, which stays one
		w.options.Observe(Failed)
		return true
	}
	return w.enqueue(&entry{line: encoded, done: make(chan error, 1)}, nil)
}

// await has a line written, and waits for that.
func (w *Writer) await(ctx context.Context, e *entry) error {
	limited, cancel := context.WithTimeout(ctx, patience(ctx))
	defer cancel()
	if !w.enqueue(e, limited.Done()) {
		w.tell(e, errLate)
		return errLate
	}
	select {
	case err := <-e.done:
		return err
	case <-limited.Done():
	}
	if ctx.Err() != nil || w.tell(e, errLate) {
		return errLate
	}
	return <-e.done // it was written just now
}

// patience is how long a call may wait for its line.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return maxPatience
	}
	left := time.Until(deadline)
	return min(maxPatience, left-min(maxReserve, left/reserveFraction))
}

// enqueue puts a line into the queue, and says whether there was room for it before giveUp;
// nil: at once.
func (w *Writer) enqueue(e *entry, giveUp <-chan struct{}) bool {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed.Load() {
		return false
	}
	select {
	case w.queue <- e:
		return true
	default:
	}
	if giveUp == nil {
		return false
	}
	select {
	case w.queue <- e:
		return true
	case <-giveUp:
		return false
	case <-w.ended:
		return false
	}
}

// drain writes the lines of the queue until it is closed.
func (w *Writer) drain() {
	defer close(w.drained)
	for e := range w.queue {
		err := w.put(e.line)
		w.tell(e, err)
		e.done <- err
		if len(w.queue) == 0 && w.dropping.Swap(false) {
			w.options.Logger.Info("audit records are written again")
		}
	}
}

// put writes one line. A line that was cut short before gets its end first.
func (w *Writer) put(encoded []byte) error {
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
	return err
}

// tell says what became of a line, unless somebody has.
func (w *Writer) tell(e *entry, err error) (first bool) {
	first = !e.settled.Swap(true)
	switch {
	case err == nil && first:
		w.options.Observe(Written)
	case first:
		w.options.Observe(Failed)
	}
	if err != nil && first && !w.failing.Swap(true) {
		w.options.Logger.Error("audit records cannot be written", "error", err)
	}
	if err == nil && w.failing.Swap(false) {
		w.options.Logger.Info("audit records can be written again")
	}
	return first
}

// Reopen has the next record go to a file that is opened anew: the one before was
// renamed, to be put away.
func (w *Writer) Reopen() {
	if w != nil {
		w.reopening.Store(true)
	}
}

// reopen does what Reopen asked for. When the file cannot be opened the one before goes
// on, and the next record tries again.
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
	close(w.queue)
	select {
	case <-w.drained:
	case <-w.options.Clock.After(closePatience):
		left = fmt.Errorf("%d audit records are not written", len(w.queue)+1)
	}
	// A write that hangs does not keep the file open: it has no lock on it.
	if file := w.file.Load(); file != nil {
		return errors.Join(left, file.Close())
	}
	return left
}

// isClosed says whether the Writer was closed before, and closes it.
func (w *Writer) isClosed() bool {
	if w.closed.Swap(true) {
		return true
	}
	close(w.ended)
	w.closing.Lock() // nobody puts a line into the queue from here on
	defer w.closing.Unlock()
	return false
}
