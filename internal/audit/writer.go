package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/clock"
)

const (
	// queueSize is the maximum number of lines that wait to be written. When the queue is full,
	// further lines are dropped if Options.BestEffort is set; otherwise calls wait for room.
	queueSize = 8192
	// chunkSize limits the size, in bytes, of a chunk, which consists of lines that are written at
	// once. When a chunk has reached chunkSize, no more lines are added to it.
	chunkSize = 16 << 10
	// flushInterval is how long the Writer waits for more lines if Options.BestEffort is set, so
	// that many lines are written at once.
	flushInterval = 5 * time.Millisecond
	// maxPatience is the maximum time that a call waits until its line is written.
	maxPatience = 5 * time.Second
	// A part of the time before a call's deadline is reserved for sending an error that explains
	// why there is no answer: maxReserve, or a quarter of the remaining time if that is shorter.
	maxReserve      = 200 * time.Millisecond
	reserveFraction = 4
)

var errLate = errors.New("the audit record is not written yet")

// Writer is a Log that writes JSON lines. A single goroutine, which Close ends, writes the lines of
// all waiting calls at once, so an output that hangs blocks no other goroutine for long. A Writer
// is safe for concurrent use.
type Writer struct {
	options  Options
	lines    sync.Pool // of *line
	queue    chan *line
	adding   sync.RWMutex // locked for reading to add a line to the queue, and for writing to close the queue
	closed   atomic.Bool
	ended    chan struct{} // a channel that is closed when the Writer is closed
	drained  chan struct{} // a channel that is closed when the writing goroutine has ended
	failing  atomic.Bool   // whether no chunk has been written completely since the last failure
	dropping atomic.Bool   // whether lines were dropped after the queue was last empty
	writing  atomic.Int64  // number of lines in the chunk that are not written yet

	file      atomic.Pointer[os.File] // the audit file; nil if lines are written to options.Output
	reopening atomic.Bool             // whether to open the file again before the next chunk is written

	// Only the writing goroutine uses the following fields.
	chunk []*line // lines that are written at once
	text  []byte  // text of the chunk
	torn  bool    // whether the last line in the output is incomplete
	stale bool    // whether the file could not be opened again
}

// A line is one audit record on its way to the output.
type line struct {
	text   []byte
	late   *time.Timer // the timer that ends the call's wait for this line
	result chan error  // a channel with a buffer, so that the writing goroutine never waits for the call
	// The field `counted` is true once the line is counted in the metrics: by the writing goroutine
	// if the line was written in time, or else by the call that stops waiting.
	counted atomic.Bool
}

// Write writes an audit record. If the option BestEffort is set, Write adds the record to the queue
// or drops it, and does not fail. Without BestEffort, Write waits until the record's line is
// written, for 5 seconds at most, and no longer than until shortly before the deadline of ctx. A
// line that is not written by then counts as failed, and its call gets no material; the line is
// still written when the output accepts lines again. When ctx has ended, Write does not wait. After
// Close, Write fails, or drops the record if the option BestEffort is set.
func (w *Writer) Write(ctx context.Context, record Record) error {
	if record.Time.IsZero() {
		record.Time = clock.WallNow(w.options.Clock)
	}
	traceID := ""
	if w.options.TraceID != nil {
		traceID = w.options.TraceID(ctx)
	}
	l := w.lines.Get().(*line)
	l.counted.Store(false)
	l.text = appendLine(l.text[:0], &record, traceID)
	if !w.options.BestEffort {
		return w.commit(ctx, l)
	}
	if !w.add(noWait, l) {
		w.lines.Put(l)
		w.options.Dropped.Inc()
		if !w.dropping.Swap(true) {
			w.options.Logger.Error("audit records are dropped: they arrive faster than they can be written")
		}
	}
	return nil
}

// Offer writes a record if at least half of the queue is free, and reports whether the record will
// be written. Half of the queue is kept free for the records of calls. Offer does not wait.
func (w *Writer) Offer(record Record) bool {
	if w.closed.Load() || len(w.queue) > queueSize/2 {
		return false
	}
	_ = w.Write(noWait, record) // the writing goroutine writes the line later
	return true
}

func (w *Writer) commit(ctx context.Context, l *line) error {
	patience := maxPatience
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		patience = min(patience, left-min(maxReserve, left/reserveFraction))
	}
	l.late.Reset(patience)
	if w.add(ctx, l) {
		select {
		case err := <-l.result:
			l.late.Stop()
			w.lines.Put(l)
			return err
		case <-ctx.Done():
			return errLate // the writing goroutine writes the line later
		case <-l.late.C:
		}
	}
	if !l.counted.CompareAndSwap(false, true) {
		return <-l.result
	}
	w.options.Failed.Inc()
	w.logFailure(errLate)
	return errLate
}

// add adds a line to the queue, and reports whether the line was added. While the queue is full,
// add waits until ctx ends, until it is too late for the line, or until the Writer is closed.
func (w *Writer) add(ctx context.Context, l *line) bool {
	w.adding.RLock()
	defer w.adding.RUnlock()
	if w.closed.Load() {
		return false
	}
	select {
	case w.queue <- l:
		return true
	default:
	}
	select {
	case w.queue <- l:
		return true
	case <-l.late.C:
	case <-ctx.Done():
	case <-w.ended:
	}
	return false
}

// run writes the lines in the queue until the Writer is closed. Before run takes lines from the
// queue, it pauses, so that more lines can be written at once. In the pause, callers that have just
// received an answer can call again.
func (w *Writer) run() {
	defer close(w.drained)
	for first := range w.queue {
		switch {
		case len(w.text) >= chunkSize: // no pause is needed after a full chunk, because more lines are waiting already
		case !w.options.BestEffort:
			runtime.Gosched()
		default:
			select {
			case <-time.After(flushInterval):
			case <-w.ended:
			}
		}
		w.collect(first)
		written, err := w.write()
		if err != nil {
			w.logFailure(err)
		} else if w.failing.CompareAndSwap(true, false) {
			w.options.Logger.Info("audit records can be written again")
		}
		w.settle(w.chunk[:written], w.options.Written, nil)
		w.settle(w.chunk[written:], w.options.Failed, err)
		w.writing.Store(0)
		if len(w.queue) == 0 && w.dropping.CompareAndSwap(true, false) {
			w.options.Logger.Info("audit records are no longer dropped")
		}
	}
}

func (w *Writer) collect(next *line) {
	w.chunk, w.text = w.chunk[:0], w.text[:0]
	for next != nil {
		w.chunk, w.text = append(w.chunk, next), append(w.text, next.text...)
		next = nil
		if len(w.text) < chunkSize {
			select {
			case next = <-w.queue: // the result is nil if the queue is closed
			default:
			}
		}
	}
	w.writing.Store(int64(len(w.chunk)))
}

// write writes the chunk. write returns the number of lines that were written whole, and an error
// unless all lines were written whole.
func (w *Writer) write() (lines int, err error) {
	if w.reopening.Load() {
		w.reopen()
	}
	output := w.options.Output
	if file := w.file.Load(); file != nil {
		output = file
	}
	if w.torn {
		if n, err := output.Write([]byte{'\n'}); n == 0 {
			return 0, cmp.Or(err, io.ErrShortWrite)
		}
		w.torn = false
	}
	n, err := output.Write(w.text)
	if n == len(w.text) {
		return len(w.chunk), nil
	}
	if n > 0 {
		w.torn = w.text[n-1] != '\n'
	}
	return bytes.Count(w.text[:n], []byte{'\n'}), cmp.Or(err, io.ErrShortWrite)
}

// settle counts those of the given lines that were not counted before, and passes the error to the
// calls that wait for the lines.
func (w *Writer) settle(lines []*line, counter Counter, err error) {
	count := 0
	for _, l := range lines {
		if l.counted.CompareAndSwap(false, true) {
			count++
		}
	}
	for range count {
		counter.Inc()
	}
	for _, l := range lines {
		if w.options.BestEffort { // with BestEffort, no call waits for its line
			w.lines.Put(l)
		} else {
			l.result <- err
		}
	}
}

// logFailure logs a failed write unless the previous write failed too.
func (w *Writer) logFailure(err error) {
	if !w.failing.Swap(true) {
		w.options.Logger.Error("audit records cannot be written", "error", err)
	}
}
