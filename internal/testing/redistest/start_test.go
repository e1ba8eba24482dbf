package redistest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestFind(t *testing.T) {
	t.Setenv("REDIS_SERVER", "")
	found, err := redistest.Find()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := redistest.Find(); err == nil || !strings.Contains(err.Error(), "\n\tapt-get install redis-server") {
		t.Errorf("without a redis-server the error is %v, want the command that installs it", err)
	}
	t.Setenv("REDIS_SERVER", found)
	if got, err := redistest.Find(); got != found || err != nil {
		t.Errorf("with REDIS_SERVER set, Find returned %q and the error %v, want %q", got, err, found)
	}
	t.Setenv("REDIS_SERVER", found+"-of-another-name")
	if _, err := redistest.Find(); err == nil || !strings.Contains(err.Error(), "REDIS_SERVER") {
		t.Errorf("REDIS_SERVER names a missing program: the error is %v, want an error that mentions REDIS_SERVER", err)
	}
}

func TestStartSaysWhy(t *testing.T) {
	t.Parallel()
	failure := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		redistest.Start(failing{t, failure}, "--maxmemory-policy", "no-such-policy")
	}()
	<-ended
	select {
	case said := <-failure:
		if !strings.Contains(said, "no-such-policy") {
			t.Errorf("the test failed with %q, want a failure that contains the server's log", said)
		}
	default:
		t.Error("a server with a wrong argument started")
	}
}

// `failing` is a testing.TB for functions that must fail their test.
type failing struct {
	testing.TB
	failure chan string
}

func (f failing) Fatal(args ...any) {
	f.failure <- fmt.Sprint(args...)
	runtime.Goexit()
}

// `serving` is an environment variable that is set only in the test binary that TestEndsWithParent
// starts.
const serving = "REDISTEST_SERVING"

func TestEndsWithParent(t *testing.T) {
	if os.Getenv(serving) != "" {
		fmt.Fprintf(os.Stdout, "\n%s=%s\n", serving, redistest.Start(t).Addr())
		select {}
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), self, "-test.run=^TestEndsWithParent$", "-test.v")
	parent.Env = append(os.Environ(), serving+"=1", "TMPDIR="+t.TempDir())
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	for lines := bufio.NewScanner(output); address == "" && lines.Scan(); {
		_, address, _ = strings.Cut(lines.Text(), serving+"=")
	}
	c := open(t, address)
	c.ping()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	c.wantClosed()
}
