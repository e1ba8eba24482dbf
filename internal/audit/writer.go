package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/clock"
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
	// flushInterval is how long lines wait in best effort, so that many are written at once.
	flushInterval = 5 * time.Millisecond
)

// errLate is the end of a Write whose line was not written in its time.
var errLate = errors.New("the audit record is not written yet")

// closePatience is how long Close waits for lines that nobody takes.
const closePatience = 2 * time.Second

// Writer is a Log of JSON lines. One goroutine writes the lines of all calls that wait at that
// moment at once, so that an output that hangs holds nobody else. Close ends it.
type Writer struct {
	options   Options
	reopening atomic.Bool
	file      atomic.Pointer[os.File] // nil: options.Output
	wake      chan struct{}           // holds an element while there are lines to write
	drained   chan struct{}           // closed when the last line was written
	ended     chan struct{}           // closed by Close

	mu      sync.Mutex    // guards what follows, and batches until they are done
	next    *batch        // lines to be written
	writing *batch        // that are being written; nil: none are
	room    chan struct{} // closed when there is room in next again; nil: nobody waits for that
	closed  bool
	failing bool // the last line could not be written
	// dropping says that lines were dropped since there were none to write.
	dropping bool

	// What follows is that of the one goroutine.
	torn bool // the last line is not whole
	// stale says that the file should have been opened anew, and could not be.
	stale bool
}

// batch is lines that are written at once.
type batch struct {
	text  []byte
	lines int
	done  chan struct{} // closed when it is known what became of each line
	wrote int           // bytes of text that the output has
	err   error         // why it does not get the others
	late  []int         // where lines end in text that count as failed already
}

// Open returns a Writer. It fails when the file cannot be written to.
func Open(options Options) (*Writer, error) {
	w := &Writer{
		options: options.withDefaults(), wake: make(chan struct{}, 1), drained: make(chan struct{}), ended: make(chan struct{}),
		next: &batch{done: make(chan struct{})},
	}
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

// buffers are for lines that are put together, and timers for calls that wait for theirs.
var (
	buffers = sync.Pool{New: func() any { return new([]byte) }}
	timers  = sync.Pool{New: func() any { return time.NewTimer(maxPatience) }}
)

// Write writes a record, or in best effort has it wait for its turn, and then does not
// fail. It waits for 5 seconds at most, and ends shortly before the deadline of ctx. A line
// that was not written by then counts as failed, and is written whole once that is possible:
// the record of a call that came to nothing. When ctx has ended nobody gets an answer that
// had to be held back, and Write does not wait. After Close no record is taken any more: it
// fails, or is dropped.
func (w *Writer) Write(ctx context.Context, record Record) error {
	if record.Time.IsZero() {
		record.Time = clock.WallNow(w.options.Clock)
	}
	traceID := ""
	if w.options.TraceID != nil {
		traceID = w.options.TraceID(ctx)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	var err error
	if *buffer, err = appendLine((*buffer)[:0], &record, traceID); err != nil {
		return w.notEncoded(err)
	}
	if !w.options.BestEffort {
		return w.commit(ctx, *buffer)
	}
	if _, _, full := w.add(*buffer, queueSize); full != nil {
		w.drop()
	}
	return nil
}

// notEncoded is the end of a record for which there is no line: of a year beyond 9999.
func (w *Writer) notEncoded(err error) error {
	w.options.Failed.Inc()
	return fmt.Errorf("encode an audit record: %w", err)
}

// drop notes that a line is dropped.
func (w *Writer) drop() {
	w.options.Dropped.Inc()
	w.mu.Lock()
	before := w.dropping
	w.dropping = true
	w.mu.Unlock()
	if !before {
		w.options.Logger.Error("audit records are dropped: they come faster than they can be written")
	}
}

// Offer has a record wait for its turn while no more than half of the queue is taken up, and
// reports whether it does: the rest is for the records of calls. It does not wait.
func (w *Writer) Offer(record Record) (taken bool) {
	record.Time = clock.WallNow(w.options.Clock)
	encoded, err := appendLine(nil, &record, "")
	if err != nil {
		_ = w.notEncoded(err)
		return true // it stays one
	}
	_, _, full := w.add(encoded, queueSize/2+1)
	return full == nil
}

// add adds a line to the next batch, and returns where it ends there. Where the batch has as many lines
// as it may, or the Writer is closed, it returns what is closed when there is room again.
func (w *Writer) add(encoded []byte, most int) (in *batch, end int, full <-chan struct{}) {
	w.mu.Lock()
	in = w.next
	if w.closed || in.lines >= most {
		if w.room == nil {
			w.room = make(chan struct{})
		}
		full = w.room
		w.mu.Unlock()
		return in, 0, full
	}
	in.text = append(in.text, encoded...)
	in.lines++
	first, end := in.lines == 1, len(in.text)
	w.mu.Unlock()
	if first {
		w.wake <- struct{}{} // at once: the batch before had its own taken
	}
	return in, end, nil
}

// commit has a line written, and waits for that.
func (w *Writer) commit(ctx context.Context, encoded []byte) error {
	wait := maxPatience
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		wait = min(wait, left-min(maxReserve, left/reserveFraction))
	}
	late := timers.Get().(*time.Timer)
	late.Reset(wait)
	defer timers.Put(late)
	defer late.Stop()
	in, end, full := w.add(encoded, queueSize)
	for full != nil {
		select {
		case <-full:
			in, end, full = w.add(encoded, queueSize)
			continue
		case <-late.C:
		case <-ctx.Done():
		case <-w.ended:
		}
		w.options.Failed.Inc()
		w.failed(errLate)
		return errLate
	}
	select {
	case <-in.done:
		if end > in.wrote {
			return in.err
		}
		return nil
	case <-ctx.Done():
		return errLate // nobody gets an answer, and the line is written
	case <-late.C:
		return w.giveUp(in, end)
	}
}

// giveUp ends the wait for a line, unless it is known by now what became of it: the output may hang with
// the lines after it.
func (w *Writer) giveUp(in *batch, end int) error {
	w.mu.Lock()
	written, err := end <= in.wrote, in.err
	if !written && err == nil {
		in.late = append(in.late, end)
	}
	w.mu.Unlock()
	switch {
	case written:
		return nil
	case err != nil:
		return err
	}
	w.options.Failed.Inc()
	w.failed(errLate)
	return errLate
}

// drain writes batches until the Writer is closed. It waits a little before each, so that more lines
// are written at once: callers that were answered may ask again.
func (w *Writer) drain() {
	defer close(w.drained)
	pause := time.NewTimer(0)
	<-pause.C
	var text []byte // for the batch after the next
	for ended := false; !ended; {
		select {
		case <-w.wake:
		case <-w.ended:
			ended = true // what came before is written
		}
		switch {
		case !w.options.BestEffort:
			runtime.Gosched()
		case !ended:
			pause.Reset(flushInterval)
			select {
			case <-pause.C:
			case <-w.ended:
			}
		}
		w.mu.Lock()
		b := w.next
		w.next, w.writing = &batch{text: text[:0], done: make(chan struct{})}, b
		if w.room != nil {
			close(w.room)
			w.room = nil
		}
		w.mu.Unlock()
		w.write(b)
		text = b.text // which nobody needs any more
	}
}

// chunkSize is how many bytes are written at once.
const chunkSize = 16 << 10

// write writes the lines of a batch, until one cannot be written.
func (w *Writer) write(b *batch) {
	if b.lines > 0 && w.reopening.Load() {
		w.reopen()
	}
	output := w.options.Output
	if file := w.file.Load(); file != nil {
		output = file
	}
	for b.err == nil && b.wrote < len(b.text) {
		lines, n, err := b.text[b.wrote:], 0, error(nil)
		if len(lines) > chunkSize {
			lines = firstLines(lines)
		}
		if w.torn {
			err = w.endLine(output)
		}
		if err == nil {
			if n, err = output.Write(lines); n < len(lines) {
				err = notNil(err)
			} else {
				err = nil
			}
		}
		if n > 0 {
			w.torn = lines[n-1] != '\n'
		}
		w.settle(b, n, err)
	}
	w.finish(b)
}

// firstLines returns the lines at the beginning of a text that chunkSize has room for, or the first.
func firstLines(text []byte) []byte {
	if end := bytes.LastIndexByte(text[:chunkSize], '\n'); end >= 0 {
		return text[:end+1]
	}
	return text[:bytes.IndexByte(text, '\n')+1]
}

// endLine ends a line that was cut short before.
func (w *Writer) endLine(output io.Writer) error {
	if n, err := output.Write([]byte{'\n'}); n == 0 {
		return notNil(err)
	}
	w.torn = false
	return nil
}

// notNil returns the error of an output that has written too little.
func notNil(err error) error {
	if err == nil {
		return io.ErrShortWrite
	}
	return err
}

// settle notes that the output has taken n more bytes of a batch, and why it takes no more. It counts
// what became of the lines that end there, but for the late ones, which count already.
func (w *Writer) settle(b *batch, n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end, known := b.wrote, b.wrote+n
	b.wrote, b.err = known, err
	if err != nil {
		known = len(b.text)
	}
	for {
		length := bytes.IndexByte(b.text[end:known], '\n') + 1
		if length == 0 {
			return
		}
		switch end += length; {
		case slices.Contains(b.late, end):
		case end <= b.wrote:
			w.options.Written.Inc()
		default:
			w.options.Failed.Inc()
		}
	}
}

// finish ends the waits for the lines of a batch.
func (w *Writer) finish(b *batch) {
	if b.err != nil {
		w.failed(b.err)
	}
	w.mu.Lock()
	w.writing = nil
	mended := w.failing && b.err == nil && b.lines > 0
	w.failing = w.failing && !mended
	kept := w.dropping && w.next.lines == 0
	w.dropping = w.dropping && !kept
	w.mu.Unlock()
	if mended {
		w.options.Logger.Info("audit records can be written again")
	}
	close(b.done)
	if kept {
		w.options.Logger.Info("audit records are written again")
	}
}

// failed has the log tell of the first line that could not be written.
func (w *Writer) failed(err error) {
	w.mu.Lock()
	before := w.failing
	w.failing = true
	w.mu.Unlock()
	if !before {
		w.options.Logger.Error("audit records cannot be written", "error", err)
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
	if w == nil || !w.end() {
		return nil
	}
	var left error
	select {
	case <-w.drained:
	case <-w.options.Clock.After(closePatience):
		left = fmt.Errorf("%d audit records are not written", w.waiting())
	}
	// A write that hangs does not keep the file open: it has no lock on it.
	if file := w.file.Load(); file != nil {
		return errors.Join(left, file.Close())
	}
	return left
}

// end takes no more lines, and reports false if it was called before.
func (w *Writer) end() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed = true
	close(w.ended)
	return true
}

// waiting returns how many lines are not written.
func (w *Writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := w.next.lines
	if w.writing != nil {
		count += w.writing.lines
	}
	return count
}
