package audit

import (
	"fmt"
	"os"
	"syscall"
)

// Reopen makes the next record go to a file that is opened anew at Path: the previous one was renamed,
// to be archived.
func (w *Writer) Reopen() {
	if w != nil {
		w.reopening.Store(true)
	}
}

// reopen does what Reopen asked for. If the file cannot be opened, the previous one stays in use, and
// the next record tries again.
func (w *Writer) reopen() {
	if w.options.Path == "" {
		return
	}
	w.reopening.Store(false)
	err := w.open()
	if err != nil {
		w.reopening.Store(true)
		if !w.stale {
			w.options.Logger.Error("the audit file cannot be opened again: the previous file stays in use", "error", err)
		}
	}
	w.stale = err != nil
}

// open opens the file at Path to append to, and closes the previous one. A named pipe that no process
// reads is an error: open does not wait for a reader.
func (w *Writer) open() error {
	file, err := os.OpenFile(w.options.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit file: %w", err)
	}
	w.torn = endsTorn(w.options.Path)
	if before := w.file.Swap(file); before != nil {
		_ = before.Close()
	}
	return nil
}

// endsTorn reports whether the last line of a file is incomplete. It returns false for a path that is
// not a regular file, or that cannot be read.
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
