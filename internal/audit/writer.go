package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
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

	mu      sync.Mutex // guards what follows, and the lines of each batch
	next    *batch     // lines to be written
	writing *batch     // that are being written; nil: none are
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
	lines []line
	taken chan struct{} // closed when the next batch begins
	done  chan struct{} // closed when it is known what became of each line
	wrote int           // bytes of text
	err   error         // why that is not all
}

// line is a line of a batch.
type line struct {
	end     int  // in the text
	settled bool // somebody has said what became of it
}

func newBatch() *batch { return &batch{taken: make(chan struct{}), done: make(chan struct{})} }

// result returns what became of a line, once the batch is done.
func (b *batch) result(of line) error {
	if of.end <= b.wrote {
		return nil
	}
	return b.err
}

// Open returns a Writer. It fails when the file cannot be written to.
func Open(options Options) (*Writer, error) {
	w := &Writer{
		options: options.withDefaults(), wake: make(chan struct{}, 1), drained: make(chan struct{}), ended: make(chan struct{}), next: newBatch(),
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

// buffers are for lines that are put together.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write writes a record, or in best effort has it wait for its turn, and then does not
// fail. It waits for 5 seconds at most, and ends shortly before the deadline of ctx. A line
// that was not written by then counts as failed, and is written whole once that is possible:
// the record of a call that came to nothing. When ctx has ended nobody gets an answer that
// had to be held back, and Write does not wait. After Close no record is taken any more: it
// fails, or is dropped.
func (w *Writer) Write(ctx context.Context, record Record) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	encoded, err := w.encode(ctx, (*buffer)[:0], &record)
	*buffer = encoded
	if err != nil {
		return err
	}
	if !w.options.BestEffort {
		return w.commit(ctx, encoded)
	}
	if _, _, ok := w.add(encoded, queueSize); !ok {
		w.drop()
	}
	return nil
}

// encode appends the line of a record.
func (w *Writer) encode(ctx context.Context, b []byte, record *Record) ([]byte, error) {
	if record.Time.IsZero() {
		record.Time = clock.WallNow(w.options.Clock)
	}
	traceID := ""
	if w.options.TraceID != nil {
		traceID = w.options.TraceID(ctx)
	}
	encoded, err := appendLine(b, record, traceID)
	if err != nil {
		w.options.Observe(Failed)
		return encoded, fmt.Errorf("encode an audit record: %w", err)
	}
	return encoded, nil
}

// drop notes that a line is dropped.
func (w *Writer) drop() {
	w.options.Observe(Dropped)
	w.mu.Lock()
	before := w.dropping
	w.dropping = true
	w.mu.Unlock()
	if !before {
		w.options.Logger.Error("audit records are dropped: they come faster than they can be written")
	}
}

// Offer has a record wait for its turn while no more than half of the queue is taken up, and
// says whether it does: the rest is for the records of calls. It does not wait.
func (w *Writer) Offer(record Record) (taken bool) {
	encoded, err := w.encode(context.Background(), nil, &record)
	if err != nil { // a year beyond 9999 stays one
		return true
	}
	_, _, taken = w.add(encoded, queueSize/2+1)
	return taken
}

// add adds a line to the next batch, and returns its place there. It reports false where the batch
// has as many lines as it may, or the Writer is closed.
func (w *Writer) add(encoded []byte, most int) (in *batch, place int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in = w.next
	if w.closed || len(in.lines) >= most {
		return in, 0, false
	}
	in.text = append(in.text, encoded...)
	in.lines = append(in.lines, line{end: len(in.text)})
	select {
	case w.wake <- struct{}{}:
	default: // there are others already
	}
	return in, len(in.lines) - 1, true
}

// commit has a line written, and waits for that.
func (w *Writer) commit(ctx context.Context, encoded []byte) error {
	late := time.NewTimer(patience(ctx))
	defer late.Stop()
	for {
		in, place, ok := w.add(encoded, queueSize)
		wait := in.done
		if !ok {
			wait = in.taken
		}
		select {
		case <-wait:
			if ok {
				return in.result(in.lines[place])
			}
			continue
		case <-late.C:
		case <-ctx.Done():
			if ok {
				return errLate // nobody gets an answer, and the line is written
			}
		case <-w.onlyWhile(!ok):
		}
		if !ok {
			w.options.Observe(Failed)
			w.failed(errLate)
			return errLate
		}
		return w.giveUp(in, place)
	}
}

// onlyWhile returns what is closed with the Writer, for a line that is in no batch.
func (w *Writer) onlyWhile(waits bool) <-chan struct{} {
	if waits {
		return w.ended
	}
	return nil
}

// giveUp ends the wait for a line, unless it is known just now what became of it.
func (w *Writer) giveUp(in *batch, place int) error {
	w.mu.Lock()
	settled := in.lines[place].settled
	in.lines[place].settled = true
	w.mu.Unlock()
	if settled {
		<-in.done
		return in.result(in.lines[place])
	}
	w.options.Observe(Failed)
	w.failed(errLate)
	return errLate
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

// drain writes batches until the Writer is closed.
func (w *Writer) drain() {
	defer close(w.drained)
	for ended := false; !ended; {
		select {
		case <-w.wake:
		case <-w.ended:
			ended = true // what came before is written
		}
		if !ended {
			w.letMoreCome()
		}
		if b := w.take(); len(b.lines) > 0 {
			w.write(b)
		}
	}
}

// letMoreCome waits a little, so that more lines are written at once.
func (w *Writer) letMoreCome() {
	if !w.options.BestEffort {
		runtime.Gosched() // callers that were answered may have asked again
		return
	}
	timer := time.NewTimer(flushInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ended:
	}
}

// take returns the lines to write now.
func (w *Writer) take() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.next
	w.next, w.writing = newBatch(), taken
	close(taken.taken)
	return taken
}

// write writes the lines of a batch, until one cannot be written.
func (w *Writer) write(b *batch) {
	for from := 0; b.wrote < len(b.text) && b.err == nil; {
		next := b.chunk(from)
		n, err := w.put(b.text[b.wrote:b.lines[next-1].end])
		b.wrote, b.err = b.wrote+n, err
		w.observe(b.lines[from:next], b.wrote)
		from = next
	}
	w.observe(b.lines, b.wrote)
	w.settle(b)
}

// chunkSize is how many bytes are written at once.
const chunkSize = 16 << 10

// chunk returns which line comes after those that are written at once, of which the first is from.
func (b *batch) chunk(from int) (next int) {
	begin := 0
	if from > 0 {
		begin = b.lines[from-1].end
	}
	for next = from + 1; next < len(b.lines) && b.lines[next].end-begin <= chunkSize; {
		next++
	}
	return next
}

// put writes lines, and returns how many bytes of them. A line that was cut short
// before gets its end first.
func (w *Writer) put(text []byte) (wrote int, err error) {
	w.reopen()
	output := w.options.Output
	if file := w.file.Load(); file != nil {
		output = file
	}
	if w.torn {
		n, err := output.Write([]byte{'\n'})
		if n == 0 {
			return 0, notNil(err)
		}
		w.torn = false
	}
	wrote, err = output.Write(text)
	if wrote > 0 {
		w.torn = text[wrote-1] != '\n'
	}
	if wrote < len(text) {
		err = notNil(err)
	}
	return wrote, err
}

// notNil returns the error of an output that has written too little.
func notNil(err error) error {
	if err == nil {
		return io.ErrShortWrite
	}
	return err
}

// observe says what became of lines, but for those of which somebody has: they end within the
// bytes that were written, or could not be written.
func (w *Writer) observe(lines []line, wrote int) {
	for _, result := range w.settleLines(lines, wrote) {
		w.options.Observe(result)
	}
}

// settleLines is observe without the observer, for which it returns the results.
func (w *Writer) settleLines(lines []line, wrote int) []Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	var results []Result
	for i := range lines {
		if lines[i].settled {
			continue
		}
		lines[i].settled = true
		if lines[i].end <= wrote {
			results = append(results, Written)
		} else {
			results = append(results, Failed)
		}
	}
	return results
}

// settle ends the waits for the lines of a batch.
func (w *Writer) settle(b *batch) {
	if b.err != nil {
		w.failed(b.err)
	} else {
		w.succeeded()
	}
	w.mu.Lock()
	w.writing = nil
	recovered := w.dropping && len(w.next.lines) == 0
	w.dropping = w.dropping && !recovered
	close(b.done)
	w.mu.Unlock()
	if recovered {
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

// succeeded has the log tell that lines are written again.
func (w *Writer) succeeded() {
	w.mu.Lock()
	before := w.failing
	w.failing = false
	w.mu.Unlock()
	if before {
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
	count := len(w.next.lines)
	if w.writing != nil {
		count += len(w.writing.lines)
	}
	return count
}
