package audit

import (
	"context"
	"io"
	"log/slog"

	"github.com/jonboulle/clockwork"
)

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
	// Written, Dropped and Failed count what became of records: Dropped, that the queue was full;
	// Failed, that the file or output took it not, not whole, or too late. Default: nothing does.
	Written, Dropped, Failed Counter
}

// Counter counts events. It is that of Prometheus.
type Counter interface{ Inc() }

// uncounted is a Counter that nobody reads.
type uncounted struct{}

// Inc implements Counter.
func (uncounted) Inc() {}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, counter := range []*Counter{&o.Written, &o.Dropped, &o.Failed} {
		if *counter == nil {
			*counter = uncounted{}
		}
	}
	return o
}
