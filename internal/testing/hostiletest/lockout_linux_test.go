package hostiletest

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// TestIdleConnectionsLockNobodyOut opens 1,000 unauthenticated connections from one address. The
// broker must still answer new callers from this and other addresses.
func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	t.Parallel()
	const newcomers = 50
	b := start(t, variant{addresses: 1})
	crowd(1000, func(int) {
		if c, err := b.open(); err == nil {
			keep(t.Context(), c)
		}
	})
	for _, test := range []struct {
		name string
		from func(i int) int // the function returns the number of the loopback address from which call i comes
		want int
	}{
		{"the same address", func(int) int { return 2 }, newcomers * 9 / 10},
		{"other addresses", func(i int) int { return 3 + i }, newcomers * 19 / 20},
	} {
		answered := 0
		for i := range newcomers {
			if err := b.callFrom(test.from(i)); err == nil {
				answered++
			}
		}
		t.Logf("%s: %d of %d new callers are answered", test.name, answered, newcomers)
		if answered < test.want {
			t.Errorf("%s: the broker answered %d of %d new callers, want %d", test.name, answered, newcomers, test.want)
		}
	}
}

// callFrom makes a valid call over a new connection from the loopback address with the given
// number.
func (b *broker) callFrom(from int) error {
	conn, err := grpc.NewClient("passthrough:///"+b.grpc, grpc.WithTransportCredentials(credentials.NewTLS(b.settings("h2"))),
		grpc.WithContextDialer(func(_ context.Context, address string) (net.Conn, error) { return b.dialFrom(from, address) }))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return (&caller{b: b, conn: conn}).get(b.Context())
}
