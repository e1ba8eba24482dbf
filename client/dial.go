package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// replacedConnection is how long a connection stays open after it was replaced, so that its calls
// can end.
const replacedConnection = time.Minute

// Connection is a connection to a broker over TLS. It implements grpc.ClientConnInterface, for New
// and for generated stubs. When the files of its TLS have changed, the next stream opens a new
// connection, which reads them; the streams and calls on the old connection may continue for a
// minute. A Connection is safe for concurrent use.
type Connection struct {
	files TLS
	dial  func() (*grpc.ClientConn, error)

	mu      sync.Mutex
	current *grpc.ClientConn
	old     []*grpc.ClientConn
	read    string // the digest of the files that the current connection has read
}

// Dial returns a connection to the broker at an address such as `dns:///broker.example:50051`. Dial
// checks the files as Credentials does, but connects only when a call needs the connection. If the
// broker cannot be reached, gRPC tries to connect at least every 30 seconds. With TokenFile, the
// calls send a token:
//
//	client.TLS{CAFile: "ca.pem"}.Dial(address, grpc.WithPerRPCCredentials(client.TokenFile("token")))
func (t TLS) Dial(address string, options ...grpc.DialOption) (*Connection, error) {
	transport, err := t.Credentials()
	if err != nil {
		return nil, err
	}
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: firstDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: maxDelay},
		MinConnectTimeout: connectTimeout,
	})}, options...)
	c := &Connection{files: t, dial: func() (*grpc.ClientConn, error) { return grpc.NewClient(address, options...) }}
	if c.read, err = t.digest(); err == nil {
		c.current, err = c.dial()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Invoke implements grpc.ClientConnInterface.
func (c *Connection) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	return current.Invoke(ctx, method, args, reply, options...)
}

// NewStream implements grpc.ClientConnInterface.
func (c *Connection) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return c.renewed().NewStream(ctx, description, method, options...)
}

// renewed returns the current connection, or a new one if the files have changed. If the files
// cannot be read, the current connection stays in use.
func (c *Connection) renewed() *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	digest, err := c.files.digest()
	if err != nil || digest == c.read || c.closed() {
		return c.current
	}
	if _, err := c.files.read(); err != nil { // for example, only one of two files has been replaced
		return c.current
	}
	renewed, err := c.dial()
	if err != nil {
		return c.current
	}
	replaced := c.current
	c.current, c.read = renewed, digest
	c.old = append(c.old, replaced)
	time.AfterFunc(replacedConnection, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.old = slices.DeleteFunc(c.old, func(old *grpc.ClientConn) bool { return old == replaced })
		_ = replaced.Close()
	})
	return renewed
}

func (c *Connection) closed() bool { return c.dial == nil }

// Close ends all calls and streams, and closes the connection.
func (c *Connection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dial = nil
	for _, replaced := range c.old {
		_ = replaced.Close()
	}
	return c.current.Close()
}

// digest returns a digest of the contents of all files.
func (t TLS) digest() (string, error) {
	sum := sha256.New()
	for _, file := range []struct {
		path  string
		limit int64
	}{{t.CAFile, maxCertificates}, {t.CertificateFile, maxCertificates}, {t.KeyFile, maxKey}} {
		if file.path == "" {
			continue
		}
		text, err := readFile(file.path, file.limit)
		if err != nil {
			return "", err
		}
		one := sha256.Sum256(text)
		sum.Write(one[:])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
