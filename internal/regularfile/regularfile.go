// Package regularfile reads small files whose paths an operator chose. A path that leads
// elsewhere, to a device, a FIFO or a huge file, costs neither memory nor time.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// errNotRegular also covers sockets, which cannot be opened.
var errNotRegular = errors.New("is not a regular file")

// Read returns the content of the regular file at path, or of the one that a symbolic link
// there leads to. A file of more than limit bytes is an error. So is one that grows beyond
// limit while it is read: at most limit+1 bytes are read.
//
// The error completes a sentence whose subject is the file. It does not contain the path,
// which may be a secret that somebody put in the wrong place.
func Read(path string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK, opening a FIFO waits for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	switch info, err := file.Stat(); {
	case err != nil:
		return nil, reason(err)
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Size() > limit:
		return nil, tooLarge(limit)
	}
	return ReadAll(file, limit)
}

// ReadAll returns all that reader has, such as standard input. Its errors are as Read's.
func ReadAll(reader io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(reader, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(limit)
	}
	return data, nil
}

func tooLarge(limit int64) error {
	if limit >= 1<<20 {
		return fmt.Errorf("is larger than the limit of %d MiB", limit>>20)
	}
	return fmt.Errorf("is larger than the limit of %d KiB", limit>>10)
}

// unreadable is a failure of the file system, without the path.
type unreadable struct {
	message string
	cause   error
}

func (u unreadable) Error() string { return u.message }
func (u unreadable) Unwrap() error { return u.cause }

// reason returns the error of a failed call without the path.
func reason(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	switch {
	case errors.Is(err, syscall.ENXIO):
		return errNotRegular
	case errors.Is(err, fs.ErrNotExist):
		return unreadable{"does not exist", err}
	case errors.Is(err, fs.ErrPermission):
		return unreadable{"may not be read by this user", err}
	default:
		return unreadable{"cannot be read: " + err.Error(), err}
	}
}
