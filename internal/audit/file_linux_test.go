package audit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/audit"
)

func TestFullDisk(t *testing.T) {
	folder := t.TempDir()
	path, good := filepath.Join(folder, "audit.jsonl"), filepath.Join(folder, "good")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	s := open(t, audit.Options{Path: path})
	for range 3 {
		if err := s.write("a"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the error is %v, want ENOSPC", err)
		}
	}
	s.wantLogged("audit records cannot be written")
	if err := errors.Join(os.Remove(path), os.Symlink(good, path)); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	s.mustWrite("b")
	s.wantLogged("audit records can be written again")
	if got := strings.Join(ids(t, read(t, good)), " "); got != "b" {
		t.Errorf("the credential IDs in the records are %s, want b", got)
	}
	s.wantResults(1, 0, 3)
}

// TestRotationUnderLoad renames the audit file again and again while records are written.
func TestRotationUnderLoad(t *testing.T) {
	const writers, each, rotations = 8, 12, 40 // each writer writes 12 records in each rotation
	for _, bestEffort := range []bool{false, true} {
		t.Run(fmt.Sprint("best effort ", bestEffort), func(t *testing.T) {
			path := auditFile(t)
			s := open(t, audit.Options{Path: path, BestEffort: bestEffort})
			files := []string{path}
			for i := range rotations {
				before := int(s.results.written.Load())
				var writing sync.WaitGroup
				for w := range writers {
					writing.Go(func() {
						for j := range each {
							if err := s.write(fmt.Sprintf("w%d-%d", w, i*each+j)); err != nil {
								t.Error(err)
							}
						}
					})
				}
				await(t, "a file to rename", func() bool {
					_, err := os.Stat(path) // the first write after Reopen creates the file
					return err == nil && int(s.results.written.Load()) > before
				})
				files = append(files, fmt.Sprintf("%s.%d", path, i))
				if err := os.Rename(path, files[i+1]); err != nil {
					t.Fatal(err)
				}
				s.Reopen()
				writing.Wait()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, file := range files {
				if _, err := os.Stat(file); err == nil { // the last audit file is missing if no record was written to it
					all = append(all, ids(t, read(t, file))...)
				}
			}
			slices.Sort(all)
			if n := len(slices.Compact(all)); n != rotations*writers*each || len(all) != n {
				t.Errorf("the files have %d records, of which %d are different; want %d different records", len(all), n, rotations*writers*each)
			}
		})
	}
}

// TestReopenThatFails puts a folder at the path of the audit file. The previous audit file must
// stay in use.
func TestReopenThatFails(t *testing.T) {
	path := auditFile(t)
	s := open(t, audit.Options{Path: path})
	if err := errors.Join(os.Rename(path, path+".1"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	s.mustWrite("a")
	s.mustWrite("b")
	s.wantLogged("the audit file cannot be opened again: the previous file stays in use")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.mustWrite("c")
	if before, after := ids(t, read(t, path+".1")), ids(t, read(t, path)); strings.Join(before, " ") != "a b" || strings.Join(after, " ") != "c" {
		t.Errorf("the previous file has the records %v, and the new file %v; want [a b] and [c]", before, after)
	}
}

func pipe(t *testing.T) string {
	t.Helper()
	path := auditFile(t)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPipeThatNobodyOpens(t *testing.T) {
	if _, err := audit.Open(audit.Options{Path: pipe(t)}); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("the error is %v, want ENXIO", err)
	}
}

// TestPipeThatNobodyReads writes more records than fit into the queue and the pipe together.
func TestPipeThatNobodyReads(t *testing.T) {
	const records = 20000
	path := pipe(t)
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	s := open(t, audit.Options{Path: path, BestEffort: true})
	began := time.Now()
	for range records {
		s.mustWrite("a")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d calls took %v, so they waited for the pipe", records, took)
	}
	dropped := int(s.results.dropped.Load())
	if dropped == 0 || dropped > records-8192 {
		t.Errorf("%d records were dropped, want at least one, but no more than the number of records that do not fit into the queue", dropped)
	}
	s.wantLogged("audit records are dropped")

	// When a process reads the pipe again, the waiting lines are written, and no further lines are
	// dropped.
	lines := bufio.NewScanner(reader)
	for range records - dropped {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		ids(t, lines.Text()+"\n")
	}
	await(t, "the log message that records are no longer lost", func() bool { return s.log.count("audit records are no longer dropped") == 1 })
	s.wantResults(records-dropped, dropped, 0)
}

func TestCloseDoesNotWaitForAPipe(t *testing.T) {
	for _, bestEffort := range []bool{false, true} {
		path := pipe(t)
		reader, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		s := open(t, audit.Options{Path: path, BestEffort: bestEffort})
		ended := make(chan error, 1)
		go func() {
			var err error
			for i := 0; err == nil && i < 5000; i++ {
				err = s.write("a")
			}
			ended <- err
		}()
		// The test counts observations, and does not measure time: while its process is suspended,
		// time passes, but nothing can be written.
		full, observations := 0, 0
		await(t, "the pipe full", func() bool {
			if n := int(s.results.written.Load()); n != full {
				full, observations = n, 0
			}
			observations++
			return full > 100 && observations > 100
		})
		err = s.Close()
		if err == nil || !strings.HasSuffix(err.Error(), "audit records are not written") {
			t.Errorf("best effort %v: Close returns %v, want an error with the number of unwritten lines", bestEffort, err)
		}
		select {
		case err := <-ended:
			if bestEffort != (err == nil) {
				t.Errorf("with best effort %v, the last Write returned %v", bestEffort, err)
			}
		case <-time.After(patience):
			t.Fatal("a call still waits after Close")
		}
	}
}

// TestCallsOfAPipeThatNobodyReads checks that calls stop waiting for their audit lines before their
// deadlines, or at the time limit of the Writer, and that no goroutine stays behind. The lines must
// be written whole when a process reads the pipe.
func TestCallsOfAPipeThatNobodyReads(t *testing.T) {
	const callers = 50
	path := pipe(t)
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	s := open(t, audit.Options{Path: path})
	within := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		err := s.Write(ctx, audit.Record{CredentialID: "a"})
		if err != nil && ctx.Err() != nil {
			t.Errorf("Write returned after the end of the call: %v", ctx.Err())
		}
		return err
	}
	written := 0
	for within(2*time.Second) == nil {
		written++
	}
	before := runtime.NumGoroutine()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			if within(time.Second) == nil {
				t.Error("Write succeeded without writing the line")
			}
		})
	}
	calling.Wait()
	began := time.Now()
	if s.write("a") == nil || time.Since(began) > 10*time.Second {
		t.Errorf("a call without a deadline waited %v", time.Since(began))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began = time.Now()
	if _ = s.Write(ended, audit.Record{CredentialID: "gone"}); time.Since(began) > time.Second {
		t.Errorf("Write waited %v in a call that had already ended", time.Since(began))
	}
	// The goroutine of the last call may not have ended yet.
	await(t, "the calls without goroutines", func() bool { return runtime.NumGoroutine() <= before })
	s.wantResults(written, 0, callers+2)
	s.wantLogged("audit records cannot be written")

	lines := bufio.NewScanner(reader)
	for range written + callers + 3 {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		ids(t, lines.Text()+"\n")
	}
	await(t, "the log message that records are no longer lost", func() bool { return s.log.count("audit records can be written again") == 1 })
	await(t, "the last line counted", func() bool { return int(s.results.written.Load()) == written+1 })
	s.mustWrite("b")
	s.wantResults(written+2, 0, callers+2)
}
