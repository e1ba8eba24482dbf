package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Find returns the path of the program postgres, in a folder that contains initdb as well. If the
// environment variable POSTGRES is set, its value is the path; otherwise Find searches PATH and the
// folders of Debian's packages. If no program is found, the error contains the command that
// installs it.
func Find() (string, error) {
	if named := os.Getenv("POSTGRES"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("POSTGRES does not name a program that can be run: %w", err)
		}
		return filepath.EvalSymlinks(path)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.EvalSymlinks(path)
	}
	if paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(paths) > 0 { // the pattern is valid
		return slices.Max(paths), nil
	}
	return "", errors.New("postgres is neither on PATH nor in /usr/lib/postgresql, and POSTGRES is not set:\n\tapt-get install postgresql")
}
