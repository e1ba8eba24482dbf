package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
)

type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) count(text string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

type count struct{ atomic.Int64 }

func (c *count) Inc() { c.Add(1) }

type results struct{ written, dropped, failed count }

// subject contains the tested Writer with its log and its counters.
type subject struct {
	*testing.T
	*audit.Writer
	log     *journal
	results *results
}

// All audit lines of the tests in this package have the time `noon`.
var noon = time.Date(2026, 3, 1, 13, 0, 0, 5000, time.FixedZone("", 3600))

func open(t *testing.T, options audit.Options) subject {
	t.Helper()
	s := subject{T: t, log: new(journal), results: new(results)}
	options.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	options.Written, options.Dropped, options.Failed = &s.results.written, &s.results.dropped, &s.results.failed
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	writer, err := audit.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Writer = writer
	t.Cleanup(func() { _ = writer.Close() })
	return s
}

func (s subject) write(id string) error {
	return s.Write(context.Background(), audit.Record{
		Caller:    access.Caller{Name: "uid:1", Method: "peer_user"},
		Operation: audit.Get, Action: access.Use, CredentialID: id, Outcome: "OK",
	})
}

func (s subject) mustWrite(id string) {
	s.Helper()
	if err := s.write(id); err != nil {
		s.Fatalf("write %s: %v", id, err)
	}
}

func (s subject) wantResults(written, dropped, failed int) {
	s.Helper()
	w, d, f := int(s.results.written.Load()), int(s.results.dropped.Load()), int(s.results.failed.Load())
	if w != written || d != dropped || f != failed {
		s.Errorf("the counters count %d written, %d dropped and %d failed records; want %d, %d and %d", w, d, f, written, dropped, failed)
	}
}

func (s subject) wantLogged(text string) {
	s.Helper()
	if got := s.log.count(text); got != 1 {
		s.Errorf("%d lines of the log contain %q, want 1", got, text)
	}
}

// ids returns the credential IDs in audit lines. Each line must be one JSON object.
func ids(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(text) {
		var object struct {
			ID *string `json:"credential_id"`
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil || object.ID == nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q is not a whole record: %v", line, err)
		}
		found = append(found, *object.ID)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func auditFile(t *testing.T) string { return filepath.Join(t.TempDir(), "audit.jsonl") }

// patience is the maximum time that a test waits for an event. A test waits so long only if the
// Writer is broken.
const patience = time.Minute

func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("within %v, this event did not happen: %s", patience, what)
		}
	}
}
