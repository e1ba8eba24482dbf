package server_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// Each reload that requires less of callers logs a warning.
func TestReloadThatDemandsLess(t *testing.T) {
	w := newWorld(t)
	proved := w.authentication() + everybody
	h := w.serve(proved, listenTCP(t))
	for i, test := range []struct {
		more string
		want int
	}{{proved + "# still\n", 0}, {everybody, 1}, {everybody + "# still\n", 1}, {"", 2}, {"# still\n", 2}, {proved, 2}, {"", 3}} {
		if err := w.reload(h, test.more); err != nil {
			t.Fatal(err)
		}
		lines := h.log.lines(t, "callers are not authenticated: every user of this machine gets the secrets; a Unix socket limits them to one user")
		if len(lines) != test.want {
			t.Errorf("after reload %d there are %d warnings, want %d", i+1, len(lines), test.want)
		}
	}
}

// If every user can connect to the Unix socket, a reload must reject a configuration without
// grants.
func TestReloadThatOpensASocket(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(socketFolder(t), "grpc")
	socket := "\nlisten: {grpc: \"unix://" + path + "\", socket_mode: \"0666\"}\n"
	h := w.serve(socket+everybody, listen(t, unix(path), 0o666))
	for more, want := range map[string]string{
		socket: "add 'grants'", // a problem of the configuration
		"":     "every user of this machine can connect to the Unix socket",
		strings.Replace(socket, "0666", "0600", 1): "every user of this machine can connect to the Unix socket",
	} {
		if err := w.reload(h, more); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error of a reload with %q is %v", more, err)
		}
	}
	if err := w.reload(h, socket+"grants: []\n"); err != nil {
		t.Errorf("a reload with grants fails: %v", err)
	}
}
