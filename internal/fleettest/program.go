package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programFolder is where the program is built; Main sets it.
var programFolder string

// Main runs the tests of a package, and returns the exit code: for TestMain. The first
// test that needs the broker builds it, as GOFLAGS says: without the race detector unless
// that has -race.
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

// program builds the broker once, and returns its path.
var program = sync.OnceValues(func() (string, error) {
	if programFolder == "" {
		return "", fmt.Errorf("TestMain does not call fleettest.Main")
	}
	path := filepath.Join(programFolder, "broker")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/authmaterial/broker/cmd/broker")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the broker: %w\n%s", err, said)
	}
	return path, nil
})
