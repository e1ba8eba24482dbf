package browsertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Find returns the path of Chromium or Chrome: the value of the environment variable CHROMIUM if it is
// set, or else a program on PATH. If no program is found, the error contains the command that
// installs Chromium.
func Find() (string, error) {
	if named := os.Getenv("CHROMIUM"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("CHROMIUM does not name a program that can be run: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("neither chromium nor google-chrome is on PATH, and CHROMIUM is not set:\n\tapt-get install chromium")
}
