package audit

import (
	"fmt"
	"os"
	"syscall"
)

// openFile opens a file to add to. It reports whether the last line there is incomplete. A
// named pipe that nobody reads is an error: it is not waited for.
func openFile(path string) (file *os.File, torn bool, err error) {
	file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, false, fmt.Errorf("open the audit file: %w", err)
	}
	return file, endsTorn(path), nil
}

// endsTorn reports whether a file's last line has no end. Of what is no file, or cannot be
// read, it says no.
func endsTorn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
