package storetest

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/authmaterial/broker/internal/store"
)

// failsWithWriter writes a backup to a disk that becomes full.
func failsWithWriter(t *testing.T, f *fixture) {
	s := f.open()
	f.fill(s)
	for _, limit := range []int{0, 100, 500, 2000} {
		if err := s.Backup(t.Context(), &limitedWriter{limit}); !errors.Is(err, errFull) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a backup to a writer that fails after %d bytes returned the error %v, want the writer's error", limit, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled backup returned the error %v, want context.Canceled", err)
	}
}

var errFull = errors.New("no space left on device")

type limitedWriter struct{ left int }

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errFull }
