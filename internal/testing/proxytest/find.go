// Package proxytest runs Envoy and nginx in front of simulated providers, with the configuration files
// of deploy/proxies.
package proxytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// find returns the path of a program: the value of an environment variable if it is set, or else the
// program in .bin, where `make` puts it, or on PATH.
func find(variable, name string) (string, error) {
	if named := os.Getenv(variable); named != "" {
		return exec.LookPath(named)
	}
	if path, err := filepath.Abs(filepath.Join(root, ".bin", name)); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither in .bin nor on PATH, and %s is not set: run make %s", name, variable, name)
	}
	return path, nil
}

// root is the folder of the repository, relative to this package.
const root = "../../.."
