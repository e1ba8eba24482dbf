package postgrestest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	first, second := server.Database(t), server.Database(t)
	if first == second || strings.Contains(first+second, postgrestest.Password) {
		t.Fatalf("the databases have the addresses %s and %s, want different addresses without the password", first, second)
	}
	if _, err := server.Connect(t, first).Exec(t.Context(), `CREATE TABLE notes AS SELECT 'swordfish' AS text`); err != nil {
		t.Fatal(err)
	}
	if dump := string(server.Dump(t, first)); !strings.Contains(dump, "swordfish") {
		t.Errorf("the dump lacks what was stored: %s", dump)
	}
	if dump := string(server.Dump(t, second)); strings.Contains(dump, "swordfish") {
		t.Error("the dump contains the content of another database")
	}
	server.Restart()
	var text string
	if err := server.Connect(t, first).QueryRow(t.Context(), `SELECT text FROM notes`).Scan(&text); text != "swordfish" || err != nil {
		t.Errorf("after a restart the stored text is %q, and the error is %v", text, err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	conn := server.Connect(t, server.Database(t))
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a suspended server answers with %v", err)
	}
	server.Continue()
	if err := server.Connect(t, server.URL("postgres")).Ping(t.Context()); err != nil {
		t.Errorf("after Continue: %v", err)
	}
}

func TestLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if err := os.Chmod(os.Getenv("TMPDIR"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(os.Getenv("TMPDIR")), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("server", func(t *testing.T) { postgrestest.Start(t) })
	entries, err := fs.ReadDir(os.DirFS(os.Getenv("TMPDIR")), ".")
	if len(entries) != 0 || err != nil {
		t.Errorf("the server left the files %v in the temporary folder (error: %v)", entries, err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("POSTGRES", "")
	found, err := postgrestest.Find()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("POSTGRES", found)
	if got, err := postgrestest.Find(); got != found || err != nil {
		t.Errorf("with POSTGRES set, Find returned %q and the error %v, want %q", got, err, found)
	}
	t.Setenv("POSTGRES", found+"-of-another-name")
	if _, err := postgrestest.Find(); err == nil || !strings.Contains(err.Error(), "POSTGRES") {
		t.Errorf("POSTGRES names a missing program: the error is %v", err)
	}
}

func TestStartSaysWhy(t *testing.T) {
	t.Parallel()
	failure, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		postgrestest.Start(failing{t, failure}, "-c", "no_such_setting=1")
	}()
	<-ended
	select {
	case said := <-failure:
		if !strings.Contains(said, "no_such_setting") {
			t.Errorf("the test failed with %q, want a failure that contains the server's log", said)
		}
	default:
		t.Error("the server started with a wrong argument")
	}
}

// `failing` is a testing.TB for tests of functions that must fail their test.
type failing struct {
	testing.TB

	failure chan string
}

func (f failing) Fatal(args ...any) {
	f.failure <- fmt.Sprint(args...)
	runtime.Goexit()
}
