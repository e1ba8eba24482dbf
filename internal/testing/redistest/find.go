package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Find returns the path of redis-server or valkey-server: the value of the environment variable
// REDIS_SERVER if it is set, or else a program on PATH. If no program is found, the error contains
// the command that installs redis-server.
func Find() (string, error) {
	if named := os.Getenv("REDIS_SERVER"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("REDIS_SERVER does not name a program that can be run: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("neither redis-server nor valkey-server is on PATH, and REDIS_SERVER is not set:\n\tapt-get install redis-server")
}
