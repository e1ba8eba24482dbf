// Package regularfile reads small files whose paths an operator chose. Reading a device, a FIFO or
// a huge file returns an error, without waiting and without using much memory.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const notRegular = "is not a regular file"

// Read returns the content of a regular file, following symbolic links. Read returns an error if
// the file has more than limit bytes, and reads at most one byte beyond the limit.
//
// The text of an error follows a noun for the file, as in "the file is not a regular file", and
// does not contain the path, because a user may have entered a secret in place of the path.
func Read(path string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK, opening a FIFO waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator chose the path
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close() //nolint:errcheck // Close cannot lose data of a file that was only read
	info, err := file.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(notRegular)
	}
	return ReadAll(file, limit)
}

// ReadAll reads everything from a reader, such as standard input, with the same limit and errors as
// Read.
func ReadAll(reader io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(reader, limit+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case int64(len(data)) <= limit:
		return data, nil
	case limit < 1<<20:
		return nil, fmt.Errorf("is larger than the limit of %d KiB", limit>>10)
	default:
		return nil, fmt.Errorf("is larger than the limit of %d MiB", limit>>20)
	}
}

// readError is an error of the file system whose text does not contain the path.
type readError struct {
	text  string
	cause error
}

func (e readError) Error() string { return e.text }
func (e readError) Unwrap() error { return e.cause }

func withoutPath(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	switch {
	case errors.Is(err, syscall.ENXIO): // the file is a socket
		return readError{notRegular, err}
	case errors.Is(err, fs.ErrNotExist):
		return readError{"does not exist", err}
	case errors.Is(err, fs.ErrPermission):
		return readError{"may not be read by this user", err}
	default:
		return readError{"cannot be read: " + err.Error(), err}
	}
}
