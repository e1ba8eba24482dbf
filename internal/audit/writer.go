package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// queueSize is how many lines wait in best effort before some are dropped.
const queueSize = 8192

// Options configure a Writer. Either Path or Output is required.
type Options struct {
	// Path is the file that lines are added to. It is made with mode 0600.
	Path string
	// Output is where lines go without a Path.
	Output io.Writer
	// BestEffort has lines wait in a queue, and drops those for which it has no room.
	// Otherwise Write returns once its line is written.
	BestEffort bool
	// Clock is the time of lines. Default: the real one.
	Clock clockwork.Clock
	// Logger gets a line when writing begins to fail, and when it works again. Default:
	// slog.Default.
	Logger *slog.Logger
	// TraceID returns the ID of a call's trace; empty: none. Default: there are none.
	TraceID func(context.Context) string
	// Observe is called with what became of each record. Default: nothing is.
	Observe func(Result)
}

// Result is what became of a record.
type Result string

// The results.
const (
	Written Result = "written"
	Dropped Result = "dropped" // the queue was full
	Failed  Result = "failed"  // the file or output took it not, or not whole
)

// Results are all of them.
var Results = []Result{Written, Dropped, Failed}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.TraceID == nil {
		o.TraceID = func(context.Context) string { return "" }
	}
	if o.Observe == nil {
		o.Observe = func(Result) {}
	}
	return o
}

// Writer is a Log of JSON lines. Close ends it.
type Writer struct {
	options   Options
	reopening atomic.Bool
	queue     chan []byte // nil: Write writes itself
	drained   chan struct{}

	failing  atomic.Bool // the last line could not be written
	dropping atomic.Bool // lines were dropped since the queue was empty

	mu   sync.Mutex // guards what follows
	file *os.File   // nil: options.Output
	torn bool       // the last line is not whole
	// stale says that the file should have been opened anew, and could not be.
	stale bool
}

// Open returns a Writer. It fails when the file cannot be written to.
func Open(options Options) (*Writer, error) {
	w := &Writer{options: options.withDefaults()}
	if options.Path != "" {
		file, err := openFile(options.Path)
		if err != nil {
			return nil, err
		}
		w.file = file
	}
	if options.BestEffort {
		w.queue, w.drained = make(chan []byte, queueSize), make(chan struct{})
		go w.drain()
	}
	return w, nil
}

func openFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("open the audit file: %w", err)
	}
	return file, nil
}

// line is a record as it is written.
type line struct {
	Time         time.Time `json:"time"`
	Caller       string    `json:"caller"`
	Method       string    `json:"method"`
	Address      string    `json:"address,omitempty"`
	Operation    Operation `json:"operation"`
	Action       string    `json:"action"`
	CredentialID string    `json:"credential_id"`
	Outcome      string    `json:"outcome"`
	Version      string    `json:"version,omitempty"`
	Grant        string    `json:"grant,omitempty"`
	TraceID      string    `json:"trace_id,omitempty"`
}

// Write writes a record, or has it wait for its turn. In best effort it does not fail.
func (w *Writer) Write(ctx context.Context, record Record) error {
	encoded, err := json.Marshal(line{
		Time:         w.options.Clock.Now().UTC(),
		Caller:       record.Caller.Name,
		Method:       record.Caller.Method,
		Address:      record.Caller.Address,
		Operation:    record.Operation,
		Action:       string(record.Action),
		CredentialID: record.CredentialID,
		Outcome:      record.Outcome,
		Version:      record.Version,
		Grant:        record.Grant,
		TraceID:      w.options.TraceID(ctx),
	})
	if err != nil {
		return fmt.Errorf("encode an audit record: %w", err) // a year beyond 9999
	}
	encoded = append(encoded, '\n')
	if w.queue == nil {
		return w.put(encoded)
	}
	select {
	case w.queue <- encoded:
	default:
		w.options.Observe(Dropped)
		if !w.dropping.Swap(true) {
			w.options.Logger.Error("audit records are dropped: they come faster than they can be written")
		}
	}
	return nil
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
	var output io.Writer = w.file
	if w.file == nil {
		output = w.options.Output
	}
	n, err := output.Write(encoded)
	if n > 0 {
		w.torn = n < len(encoded)
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
	if w.file == nil || !w.reopening.Swap(false) {
		return
	}
	file, err := openFile(w.options.Path)
	if err != nil {
		w.reopening.Store(true)
		if !w.stale {
			w.stale = true
			w.options.Logger.Error("the audit file cannot be opened again: the one before is used", "error", err)
		}
		return
	}
	_ = w.file.Close()
	w.file, w.torn, w.stale = file, false, false
}

// Close writes what waits, and closes the file. Write is not called any more. Reopen and
// Close of a nil Writer do nothing.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
	if w.queue != nil {
		close(w.queue)
		<-w.drained
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
