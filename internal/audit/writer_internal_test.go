package audit

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// `halfway` is an output that accepts the first chunk of lines after the channel `begin` is closed,
// and blocks at the third chunk until the channel `release` is closed.
type halfway struct {
	begin, release chan struct{}
	writes         atomic.Int32
	taken          atomic.Int32 // number of accepted lines
}

func (o *halfway) Write(text []byte) (int, error) {
	switch o.writes.Add(1) {
	case 1:
		<-o.begin
	case 2: // the second call of Write writes the first chunk of the waiting lines
	default:
		<-o.release
	}
	o.taken.Add(int32(strings.Count(string(text), "\n")))
	return len(text), nil
}

// In TestOutputThatHangsHalfway, the output accepts the lines of some calls and then hangs. The
// calls whose lines were accepted must succeed.
func TestOutputThatHangsHalfway(t *testing.T) {
	output := &halfway{begin: make(chan struct{}), release: make(chan struct{})}
	w, err := Open(Options{Output: output, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const calls = 200
	var written, late atomic.Int32
	var ended sync.WaitGroup
	write := func() {
		defer ended.Done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		switch err := w.Write(ctx, Record{CredentialID: strings.Repeat("a", 128)}); {
		case err == nil:
			written.Add(1)
		case errors.Is(err, errLate):
			late.Add(1)
		default:
			t.Errorf("a call ends with the error %v", err)
		}
	}
	ended.Add(1)
	go write()
	for output.writes.Load() == 0 {
		runtime.Gosched()
	}
	ended.Add(calls)
	for range calls {
		go write()
	}
	for w.waiting() < 1+calls {
		runtime.Gosched()
	}
	close(output.begin)
	ended.Wait() // all calls end although the output hangs
	if taken := output.taken.Load(); taken < 2 || written.Load() != taken || late.Load() != 1+calls-taken {
		t.Errorf("of %d calls, %d succeeded, and %d ended before their lines were written; the output has %d lines", 1+calls, written.Load(), late.Load(), taken)
	}
	close(output.release)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
