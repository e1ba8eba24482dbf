package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
)

func TestLine(t *testing.T) {
	var output bytes.Buffer
	type traced struct{}
	s := open(t, audit.Options{
		Output:  &output,
		Clock:   clockwork.NewFakeClockAt(noon),
		TraceID: func(ctx context.Context) string { id, _ := ctx.Value(traced{}).(string); return id },
	})
	full := audit.Record{
		Caller:    access.Caller{Name: "spiffe://prod/web", Method: "mutual_tls", Address: "10.0.0.1:4711", ExpireTime: noon},
		Operation: audit.Report, Action: access.Use, CredentialID: "mail", Grant: "broker.yaml:12", Outcome: "OK", Report: "REPLACED", Version: "v1",
	}
	for ctx, record := range map[context.Context]audit.Record{
		context.WithValue(t.Context(), traced{}, "0af7"): full,
		t.Context(): {Operation: audit.Get, Action: access.Use, Outcome: "ACCESS_DENIED"},
	} {
		if err := s.Write(ctx, record); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`{"time":"2026-03-01T12:00:00.000005Z","caller":"spiffe://prod/web","method":"mutual_tls","address":"10.0.0.1:4711","operation":"report",` +
			`"action":"use","credential_id":"mail","outcome":"OK","report":"REPLACED","version":"v1","grant":"broker.yaml:12","trace_id":"0af7"}` + "\n",
		`{"time":"2026-03-01T12:00:00.000005Z","caller":"","method":"","operation":"get","action":"use","credential_id":"","outcome":"ACCESS_DENIED"}` + "\n",
	} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("the lines are\n%s, and the following line is missing:\n%s", output.String(), want)
		}
	}
	s.wantResults(2, 0, 0)
}

// The names and IDs in TestHostileText would end a line or a string if they were not escaped.
func TestHostileText(t *testing.T) {
	var output bytes.Buffer
	s := open(t, audit.Options{Output: &output})
	hostile := []string{"a\nb", "a\r\nb", `a","outcome":"OK`, "a\x00\x1b[2J\x7f", "a\u2028b\u0085", "\u009b2J\u202e\U000e0001", "a\\", `{"a":1}`, "</script>", "é☃𝄞", "a\xff"}
	for _, text := range hostile {
		err := s.Write(t.Context(), audit.Record{Caller: access.Caller{Name: text, Method: text, Address: text}, CredentialID: text, Version: text, Grant: text})
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.SplitAfter(strings.TrimSuffix(output.String(), "\n"), "\n")
	if len(lines) != len(hostile) {
		t.Fatalf("the output has %d lines, want %d", len(lines), len(hostile))
	}
	for i, line := range lines {
		var fields map[string]string
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		want := strings.ToValidUTF8(hostile[i], "\ufffd")
		for _, name := range []string{"caller", "method", "address", "credential_id", "version", "grant"} {
			if fields[name] != want {
				t.Errorf("the field %s is %q, want %q", name, fields[name], want)
			}
		}
		if fields["outcome"] != "" {
			t.Errorf("the outcome in the line is %q, want an empty outcome", fields["outcome"])
		}
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q has a control character", line)
		}
	}
	if !strings.Contains(output.String(), `"</script>"`) {
		t.Error("the line is longer than necessary, because characters of HTML are escaped")
	}
}

func TestLongIDIsCut(t *testing.T) {
	var output bytes.Buffer
	s := open(t, audit.Options{Output: &output})
	longest := strings.Repeat("x", 128)
	for _, id := range []string{longest, longest + "x", strings.Repeat("é", 1<<20), "x" + strings.Repeat("é", 100)} {
		s.mustWrite(id)
	}
	for i, id := range ids(t, output.String()) {
		if len(id) > 128+len("…") || !utf8.ValidString(id) || strings.Contains(id, "\ufffd") || i > 0 != strings.HasSuffix(id, "…") {
			t.Errorf("in line %d the ID is %q", i, id)
		}
	}
}

// TestHostileIDIsCut writes IDs that become longer when their characters are escaped.
func TestHostileIDIsCut(t *testing.T) {
	var output bytes.Buffer
	s := open(t, audit.Options{Output: &output, Clock: clockwork.NewFakeClockAt(noon)})
	s.mustWrite("")
	empty := output.Len()
	for _, sign := range []string{"\x01", "\n", `"`, `\`, "\xff", "\u2028", "\u202e", "\U000e0001", "é", "<", "\x01x\"\xff\U000e0001"} {
		output.Reset()
		s.mustWrite(strings.Repeat(sign, 128))
		if size := output.Len() - empty; size > 128+len("…") || size < 128-12 {
			t.Errorf("an ID that consists of 128 characters %q has %d bytes in the line: %s", sign, size, output.String())
		}
	}
}

func TestFileIsAddedTo(t *testing.T) {
	path := auditFile(t)
	for _, id := range []string{"a", "b"} {
		s := open(t, audit.Options{Path: path})
		s.mustWrite(id)
		if got := ids(t, read(t, path)); got[len(got)-1] != id {
			t.Errorf("when Write returns, the last record is about the credential %s, want %s", got[len(got)-1], id)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(ids(t, read(t, path)), " "); got != "a b" {
		t.Errorf("the credential IDs in the records are %q, want %q", got, "a b")
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

// TestTornLineIsEnded opens a file whose last line may be incomplete.
func TestTornLineIsEnded(t *testing.T) {
	for before, want := range map[string]string{`{"caller":`: `{"caller":` + "\n", "{}\n": "{}\n", "": ""} {
		path := auditFile(t)
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, audit.Options{Path: path})
		s.mustWrite("a")
		s.mustWrite("b")
		rest, found := strings.CutPrefix(read(t, path), want)
		if !found || strings.Join(ids(t, rest), " ") != "a b" {
			t.Errorf("the content of the file was %q before the Writer opened it, and is now %q", before, read(t, path))
		}
	}
}

func TestFileThatCannotBeOpened(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "none", "audit.jsonl")} {
		writer, err := audit.Open(audit.Options{Path: path})
		var cause *fs.PathError
		if !errors.As(err, &cause) || !strings.HasPrefix(err.Error(), "open the audit file: ") || writer != nil {
			t.Errorf("the error for the path %s is %v", path, err)
		}
	}
}

// shortWriter accepts a number of bytes, and then fails.
type shortWriter struct {
	bytes.Buffer
	room int
}

var errFull = errors.New("no room")

func (w *shortWriter) Write(p []byte) (int, error) {
	n := min(w.room, len(p))
	w.room -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestShortWrites makes two consecutive writes fail, for every number of bytes that can be written
// before the failure.
func TestShortWrites(t *testing.T) {
	var whole bytes.Buffer
	measured := open(t, audit.Options{Output: &whole, Clock: clockwork.NewFakeClockAt(noon)})
	measured.mustWrite("a")
	length := whole.Len()
	for first := range length {
		for _, second := range []int{0, 1, 2, length - 1, length} {
			output := &shortWriter{room: first}
			s := open(t, audit.Options{Output: output, Clock: clockwork.NewFakeClockAt(noon)})
			if err := s.write("a"); !errors.Is(err, errFull) {
				t.Fatalf("after %d of %d bytes the error is %v", first, length, err)
			}
			output.room = second
			again := s.write("b")
			output.room = 1 << 20
			s.mustWrite("c")
			s.mustWrite("d")
			text := output.String()
			if strings.HasPrefix(text, "\n") || strings.Contains(text, "\n\n") {
				t.Errorf("after writes of %d and %d bytes there is an empty line", first, second)
			}
			lines := strings.SplitAfter(text, "\n")
			lines = lines[:len(lines)-1] // the last element is the empty string after the last newline
			if got := ids(t, strings.Join(lines[len(lines)-2:], "")); got[0] != "c" || got[1] != "d" {
				t.Errorf("after writes of %d and %d bytes, the credential IDs of the last records are %v", first, second, got)
			}
			failed := 1
			if again != nil {
				failed = 2
			}
			s.wantResults(4-failed, 0, failed)
			s.wantLogged("audit records cannot be written")
			s.wantLogged("audit records can be written again")
		}
	}
}

// The output in TestShortWriteWithoutAnError violates the contract of io.Writer: it writes fewer
// bytes than it was given, and returns no error.
func TestShortWriteWithoutAnError(t *testing.T) {
	s := open(t, audit.Options{Output: writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil })})
	if err := s.write("a"); err == nil {
		t.Error("Write succeeded without writing the whole line")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCloseOfNothing(t *testing.T) {
	var none *audit.Writer
	none.Reopen()
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseTwice also writes a record after Close, because a call can still be running after the
// server has stopped.
func TestCloseTwice(t *testing.T) {
	for _, bestEffort := range []bool{false, true} {
		path := auditFile(t)
		s := open(t, audit.Options{Path: path, BestEffort: bestEffort})
		s.mustWrite("a")
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.write("b"); (err == nil) != bestEffort {
			t.Errorf("best effort %v: Write after Close returns %v", bestEffort, err)
		}
		if got := strings.Join(ids(t, read(t, path)), " "); got != "a" {
			t.Errorf("the credential IDs in the records are %s, want only the ID a", got)
		}
		if lost := int(s.results.dropped.Load()) + int(s.results.failed.Load()); lost != 1 {
			t.Errorf("with best effort %v, %d records count as lost, want 1", bestEffort, lost)
		}
	}
}
