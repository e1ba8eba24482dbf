package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
)

// refreshFile is a strategies.RefreshTokens for one token request. It writes the successor of the
// refresh token into a file.
type refreshFile struct {
	file    *os.File
	first   secret.Text
	written bool
}

// newRefreshFile creates the file, so that nothing is sent if the successor could not be kept.
func newRefreshFile(path string) (*refreshFile, error) {
	file, err := createNew(path, 0o600)
	return &refreshFile{file: file}, err
}

// Lease returns the only lease.
func (f *refreshFile) Lease(_ context.Context, chain strategies.RefreshChain, _ time.Duration) (strategies.RefreshLease, time.Duration, error) {
	f.first = chain.First
	return f, 0, nil
}

// Token returns the refresh token that the person gave.
func (f *refreshFile) Token() secret.Text { return f.first }

// Interrupted returns false.
func (f *refreshFile) Interrupted() bool { return false }

// Replace writes the successor.
func (f *refreshFile) Replace(_ context.Context, successor secret.Text) error {
	_, err := f.file.WriteAt([]byte(successor.Reveal()+"\n"), 0)
	if err = errors.Join(err, f.file.Sync()); err != nil {
		return fault.New(fault.StoreUnavailable, "the next refresh token cannot be written to "+f.file.Name())
	}
	f.written = true
	return nil
}

// Release does nothing.
func (f *refreshFile) Release(context.Context, bool) error { return nil }

// finish closes the file, and tells a person what it has. It removes the file if there is no successor.
func (f *refreshFile) finish(out *screen) error {
	err := f.file.Close()
	if !f.written {
		return errors.Join(err, os.Remove(f.file.Name()))
	}
	fmt.Fprintf(out, "%s has the next refresh token. The one that you gave is used up.\n", printable(f.file.Name()))
	return err
}
