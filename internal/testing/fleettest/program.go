package fleettest

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var programFolder string

// Main runs the tests of a package from its TestMain and returns the exit code. The first test that
// needs the broker builds it, with the flags in GOFLAGS. The broker has no race detector unless
// GOFLAGS contains -race.
func Main(m *testing.M) int {
	folder, err := os.MkdirTemp("", "fleettest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	programFolder = folder
	return m.Run()
}

// program builds the broker once, with clocks that tests can shift, and returns the path of the
// executable.
var program = sync.OnceValues(func() (string, error) {
	if programFolder == "" {
		return "", fmt.Errorf("fleettest.Main was not called; call it in TestMain")
	}
	module, err := lookAtSources()
	if err != nil {
		return "", fmt.Errorf("list the broker's source folders: %w", err)
	}
	overlay, err := clockShiftOverlay(module)
	if err != nil {
		return "", err
	}
	path := filepath.Join(programFolder, "broker")
	build := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", path, "github.com/authmaterial/broker/cmd/broker")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the broker: %w\n%s", err, said)
	}
	return path, nil
})

// clockShiftOverlay writes an overlay file for `go build -overlay`, which adds
// testdata/clockshift.go to package clock, and returns its path.
func clockShiftOverlay(module string) (string, error) {
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(module, "internal/clock/clockshift.go"): filepath.Join(module, "internal/testing/fleettest/testdata/clockshift.go"),
	}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(programFolder, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// lookAtSources reads the list of files in each source folder, and returns the module's folder. `go
// test` reuses a result if the files that the test opened are unchanged, but does not notice the
// files that `go build` opens. Without lookAtSources, `go test` would reuse the results of an older
// broker.
func lookAtSources() (module string, err error) {
	file, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	module = filepath.Dir(strings.TrimSpace(string(file)))
	for _, folder := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(module, folder), func(string, fs.DirEntry, error) error { return nil })
		if err != nil {
			return "", err
		}
	}
	return module, nil
}
