package redistest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	addr := s.Addr()
	set(t, s.Client(), "key")
	if got := get(t, s.Client(), "key"); got != "value" {
		t.Fatalf("the server has the value %q, want %q", got, "value")
	}
	s.Kill()
	if accepts(t, addr) {
		t.Error("a killed server accepts connections")
	}
	for _, state := range []string{"killed", "running", "stopped"} {
		if state == "stopped" {
			s.Stop()
		}
		s.Restart()
		if s.Addr() != addr {
			t.Errorf("a %s server has the address %s after its restart, want %s", state, s.Addr(), addr)
		}
		if got := get(t, s.Client(), "key"); got != "" {
			t.Errorf("a %s server has the value %q after its restart, want no value", state, got)
		}
		set(t, s.Client(), "key")
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := open(t, s.Addr())
	for range 3 {
		s.Stop()
		c.send("PING")
		c.wantNothing()
		s.Continue()
		c.want("+PONG\r\n")
	}
}

func TestParallelStarts(t *testing.T) {
	t.Parallel()
	connections := make(chan connection, 30)
	t.Run("servers", func(outer *testing.T) {
		for range cap(connections) {
			outer.Run("", func(inner *testing.T) {
				inner.Parallel()
				s := redistest.Start(inner)
				connections <- open(t, s.Addr())
				set(inner, s.Client(), inner.Name())
				if size := s.Client().DBSize(inner.Context()).Val(); size != 1 {
					inner.Errorf("the server has %d keys, want only the key that this test wrote", size)
				}
			})
		}
	})
	close(connections)
	for c := range connections {
		c.wantClosed() // the server was killed at the end of its test
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--requirepass", "swordfish", "--user", "reader", "on", ">haddock", "~public:*", "+@read")
	set(t, s.Client(), "public:key")
	set(t, s.Client(), "key")
	tests := []struct{ user, password, key, want string }{
		{"", "", "key", "NOAUTH"},
		{"", "haddock", "key", "WRONGPASS"},
		{"", "swordfish", "key", ""},
		{"reader", "haddock", "public:key", ""},
		{"reader", "haddock", "key", "NOPERM"},
	}
	for _, tt := range tests {
		client := connect(t, &redis.Options{Addr: s.Addr(), Username: tt.user, Password: tt.password})
		err := client.Get(t.Context(), tt.key).Err()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("the user %q read the key %s with the error %v, want %q", tt.user, tt.key, err, tt.want)
		}
	}
}

func TestStartTLS(t *testing.T) {
	t.Parallel()
	s := redistest.StartTLS(t, "--requirepass", "swordfish")
	set(t, s.Client(), "key")
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	options, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.Password = "swordfish"
	if err := connect(t, options).Ping(t.Context()).Err(); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a client without the CA got the error %v, want x509.UnknownAuthorityError", err)
	}
	options.TLSConfig = &tls.Config{ServerName: "127.0.0.1", RootCAs: x509.NewCertPool()}
	options.TLSConfig.RootCAs.AppendCertsFromPEM(pem)
	if got := get(t, connect(t, options), "key"); got != "value" {
		t.Errorf("a client with the CA read the value %q, want %q", got, "value")
	}
	options.TLSConfig = nil
	if err := connect(t, options).Ping(t.Context()).Err(); err == nil {
		t.Error("the server answers without TLS")
	}
}

func connect(t *testing.T, options *redis.Options) *redis.Client {
	t.Helper()
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func set(t *testing.T, client redis.UniversalClient, key string) {
	t.Helper()
	if err := client.Set(t.Context(), key, "value", 0).Err(); err != nil {
		t.Fatalf("SET: %v", err)
	}
}

func get(t *testing.T, client redis.UniversalClient, key string) string {
	t.Helper()
	value, err := client.Get(t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("GET: %v", err)
	}
	return value
}

// awaitValue waits until the server has the value that the command "SET key value" writes.
func awaitValue(t *testing.T, s *redistest.Server) {
	t.Helper()
	tick, deadline := time.NewTicker(2*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for get(t, s.Client(), "key") != "value" {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the proxy did not forward the request: the server does not have the value")
		}
	}
}
