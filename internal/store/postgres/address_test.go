package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

func TestErrorsContainNoCredentials(t *testing.T) {
	t.Parallel()
	const user, password = "canary-user", "canary-password"
	server := postgrestest.Start(t)
	for address, want := range map[string]string{
		server.URL("postgres"):                                           "SQLSTATE 28P01",
		"postgres://127.0.0.1:1/db?sslmode=disable":                      "connection refused",
		strings.Replace(server.URL("postgres"), "disable", "require", 1): "refused TLS",
		"postgres://no-such-host.invalid/db?sslmode=verify-full":         "no-such-host.invalid",
	} {
		driver, err := postgres.Open(address, secret.New(user), secret.New(password))
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(t.Context(), driver, store.Options{Keys: fleetkeys.RandomRing()})
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("the address %s led to the error %v, want an error that contains %q", address, err, want)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("an error contains the user or the password: %v", err)
		}
		var log strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		driver.(store.Notifier).Listen(ctx, slog.New(slog.NewTextHandler(cancelling{&log, cancel}, nil)), func() {})
		if got := log.String(); !strings.Contains(got, want) || strings.Contains(got, "canary") {
			t.Errorf("the log line of Listen lacks the reason, or contains the user or the password: %s", got)
		}
		_ = driver.Close()
	}
}

// cancelling is a writer that cancels a context after it has written the first line.
type cancelling struct {
	*strings.Builder
	cancel func()
}

func (c cancelling) Write(line []byte) (int, error) {
	defer c.cancel()
	return c.Builder.Write(line)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://user:canary@localhost/db?sslmode=disable":        "contains a password",
		"postgres://localhost/db?sslmode=disable&password=canary":    "contains a password",
		"postgres://localhost/db?sslmode=disable&sslpassword=canary": "contains a password",
		"postgres://user:can%ary@localhost/db":                       "is not a URL",
		"host=localhost password=canary":                             "is not a URL",
		"mysql://localhost/db":                                       "is not a URL",
		"postgres://canary@localhost/db?sslmode=no":                  "is not valid: failed to configure TLS (sslmode",
		"postgres://localhost:port/db":                               "is not a URL",
		"postgres://localhost/db":                                    "lacks sslmode",
	} {
		_, err := postgres.Open(address, secret.Text{}, secret.Text{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("the address %s led to the error %v, want an error that contains %q", address, err, want)
		}
	}
}
