package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

func audited(path string, bestEffort bool) func(*server.Options) {
	return func(o *server.Options) {
		o.Config.Audit = config.Audit{Enabled: true, Path: path, BestEffort: bestEffort}
	}
}

func records(t *testing.T, path string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for encoded := range strings.Lines(string(text)) {
		var fields map[string]string
		if err := json.Unmarshal([]byte(encoded), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["time"] == "" || fields["caller"] == "" || fields["method"] == "" || fields["action"] != "use" {
			t.Errorf("the record %s lacks a required field", encoded)
		}
		found = append(found, fields["operation"]+" "+fields["credential_id"]+" "+fields["outcome"])
	}
	return found
}

func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h := serve(t, audited(path, false))
	_ = h.get("key-of-board")
	_ = h.get("none")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	h.server.ReopenAudit()
	_ = h.get("token-of-mail")
	before, after := strings.Join(records(t, path+".1"), ", "), strings.Join(records(t, path), ", ")
	if before != "get key-of-board OK, get none CREDENTIAL_NOT_FOUND" || after != "get token-of-mail OK" {
		t.Errorf("the records are %s in the renamed file, and %s in the new file", before, after)
	}
	for _, file := range []string{path, path + ".1"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h.wantNoSecret("the audit file", string(text))
	}
	_, _, metrics := h.fetch("/metrics")
	for _, want := range []string{`{result="written"} 3`, `{result="dropped"} 0`, `{result="failed"} 0`} {
		if !strings.Contains(metrics, "authmaterial_audit_records_total"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestAuditOnAFullDisk checks that calls fail while the disk is full, unless the audit mode is
// `best_effort`.
func TestAuditOnAFullDisk(t *testing.T) {
	for _, bestEffort := range []bool{false, true} {
		folder := t.TempDir()
		path, good := filepath.Join(folder, "audit"), filepath.Join(folder, "good")
		if err := os.Symlink("/dev/full", path); err != nil {
			t.Fatal(err)
		}
		h := serve(t, audited(path, bestEffort))
		for range 2 {
			if err := h.get("key-of-board"); bestEffort && err != nil {
				t.Errorf("a call fails although the audit mode is best_effort: %v", err)
			} else if !bestEffort {
				h.wantError(err, codes.Internal, "INTERNAL", "the audit record could not be written")
			}
		}
		h.eventually("the log reports the failure", func() bool { return len(h.log.lines(t, "audit records cannot be written")) > 0 })
		if err := errors.Join(os.Remove(path), os.Symlink(good, path)); err != nil {
			t.Fatal(err)
		}
		h.server.ReopenAudit()
		if err := h.get("key-of-board"); err != nil {
			t.Errorf("with the setting best_effort=%v, a call fails although its record can be written: %v", bestEffort, err)
		}
		h.server.Stop(t.Context())
		if failures := h.log.lines(t, "audit records cannot be written"); len(failures) != 1 {
			t.Errorf("with the setting best_effort=%v, the log has %d lines about the failed write", bestEffort, len(failures))
		}
		if got := records(t, good); len(got) == 0 || got[len(got)-1] != "get key-of-board OK" {
			t.Errorf("with the setting best_effort=%v, the records are %v", bestEffort, got)
		}
	}
}

func TestAuditFileThatCannotBeOpened(t *testing.T) {
	h := newServer(t)
	loaded, err := config.Parse("broker.yaml", []byte(configuration), config.Options{LookupEnv: simulated.Environment(h.sim)})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Audit = config.Audit{Enabled: true, Path: t.TempDir()}
	if made, err := server.New(server.Options{Config: loaded}); !errors.Is(err, syscall.EISDIR) || made != nil {
		t.Errorf("server.New returns the error %v, want EISDIR", err)
	}
}

// A second stop must not close the audit file again.
func TestStopTwiceWithAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h := serve(t, audited(path, true))
	_ = h.get("key-of-board")
	h.server.Stop(t.Context())
	h.server.Stop(t.Context())
	if got := strings.Join(records(t, path), ", "); got != "get key-of-board OK" {
		t.Errorf("the records are %s", got)
	}
}

// A reload does not apply a changed audit setting, but logs that the setting needs a restart.
func TestReloadOfAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h := serve(t, audited(path, false))
	load := func(where string) {
		err := h.server.Reload(func() (*config.Config, error) {
			return config.Parse("broker.yaml", []byte(configuration+"audit: {file: "+where+"}\n"), config.Options{LookupEnv: simulated.Environment(h.sim)})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	load(path)
	if n := h.restartsFor("audit"); n != 0 {
		t.Errorf("the log has %d warnings although no setting changed", n)
	}
	load(path + ".new")
	if n := h.restartsFor("audit"); n != 1 {
		t.Errorf("the log has %d warnings that a setting changed, want 1", n)
	}
}

// While no process reads the audit pipe, every call and every item of a batch or watch fails before
// the call's deadline, and the server stops in time.
func TestAuditThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	h := serve(t, audited(path, false))
	const message = "the audit record could not be written"
	calls := 0
	for ; err == nil; calls++ {
		err = h.getWithin(2 * time.Second)
	}
	h.wantError(err, codes.Internal, "INTERNAL", message)

	began := time.Now()
	batch, err := h.client().BatchGetAuthDecorations(t.Context(), &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key-of-board"}, 20)})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range batch.GetResults() {
		if item.GetError().GetMessage() != message {
			t.Errorf("an item of a batch or watch is %v, want an error, because its audit record is not written", item.GetError().GetReason())
		}
	}
	watch, err := h.client().WatchAuthDecorations(t.Context(), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
	if err == nil {
		_, err = watch.Recv()
	}
	h.wantError(err, codes.Internal, "INTERNAL", message)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a batch and a watch without deadlines took %v together", took)
	}
	if _, _, metrics := h.fetch("/metrics"); strings.Contains(metrics, `authmaterial_audit_records_total{result="failed"} 0`) {
		t.Error("no audit record is counted as failed")
	}
	hanging := make(chan error, 1)
	go func() { hanging <- h.get("key-of-board") }()
	h.awaitStarted(calls + 1)
	began = time.Now()
	h.server.Stop(t.Context())
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if <-hanging == nil {
		t.Error("a call was answered although its audit record was not written")
	}
}

func (h harness) getWithin(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(h.Context(), limit)
	defer cancel()
	_, err := h.client().GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"})
	return err
}
