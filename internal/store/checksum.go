package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// The trailer of a backup consists of a label and the SHA-256 hash, in hexadecimal, of everything
// before the trailer. With the trailer, Restore can distinguish a truncated backup from a damaged
// backup. The trailer does not authenticate the backup, because the encryption does that.
const (
	trailerLabel = "\nsha256:"
	trailerSize  = len(trailerLabel) + 2*sha256.Size + 1
)

func trailer(sum hash.Hash) []byte {
	return append(append([]byte(trailerLabel), hex.EncodeToString(sum.Sum(nil))...), '\n')
}

// sum calls a function that writes data to `out`, and then appends the trailer to the data.
func sum(out io.Writer, write func(io.Writer) error) error {
	digest := sha256.New()
	if err := write(io.MultiWriter(out, digest)); err != nil {
		return err
	}
	_, err := out.Write(trailer(digest))
	return err
}

// summed reads a backup up to its trailer, and then compares the digest in the trailer.
type summed struct {
	in     *bufio.Reader
	digest hash.Hash
}

func newSummed(in io.Reader) *summed { return &summed{bufio.NewReaderSize(in, 64<<10), sha256.New()} }

// Read implements io.Reader. Read returns io.EOF at the end of the content, before the trailer.
func (s *summed) Read(p []byte) (int, error) {
	_, err := s.in.Peek(trailerSize + 1)
	if err != nil {
		return 0, err
	}
	n, err := s.in.Read(p[:min(len(p), s.in.Buffered()-trailerSize)])
	s.digest.Write(p[:n]) // a hash never returns an error
	return n, err
}

// verify reads the rest of the content, and compares the digest of the content with the trailer.
// verify returns ErrTruncated if there is no trailer, and ErrDamaged if the trailer has another
// digest.
func (s *summed) verify() error {
	if _, err := io.Copy(io.Discard, s); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	last, err := io.ReadAll(s.in)
	switch {
	case err != nil:
		return err
	case len(last) != trailerSize || !bytes.HasPrefix(last, []byte(trailerLabel)):
		return ErrTruncated
	case !bytes.Equal(last, trailer(s.digest)):
		return ErrDamaged
	}
	return nil
}
