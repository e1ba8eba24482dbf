package management_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/testing/logtest"
)

// TestWarningsOfSecretsThatExpire counts the warnings in the days before and after a secret expires.
func TestWarningsOfSecretsThatExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entry := func(id, end, more string) string {
			return fmt.Sprintf("  - {id: %s, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}%s%s}\n", id, end, more)
		}
		end := ", secret_expire_time: " + time.Now().Add(20*24*time.Hour).Format(time.RFC3339)
		loaded, err := config.Parse("broker.yaml", []byte("credentials:\n"+entry("soon", end, "")+entry("off", end, ", disabled: true")+entry("never", "", "")), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		log := new(logtest.Log)
		logger, clock := slog.New(slog.NewTextHandler(log, nil)), clockwork.NewRealClock()
		tokens := cache.New(cache.Options{})
		defer tokens.Close()
		served, err := broker.New(broker.Load{Config: loaded}, broker.Options{
			Tokens: tokens, TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{}),
			VersionKeys: [][]byte{make([]byte, broker.VersionKeySize)}, Clock: clock, Logger: logger,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		service := management.New(management.Options{Config: loaded, Server: served, Clock: clock, Logger: logger})
		go func() { defer close(ended); service.Run(ctx) }()
		const soon, expired = "the secret of a credential expires soon", "the secret of a credential has expired"
		for day := range 24 {
			synctest.Wait()
			wantSoon, wantExpired := min(max(0, day-5), 14), max(0, day-19)
			if s, e := log.Count(soon), log.Count(expired); s != wantSoon || e != wantExpired {
				t.Errorf("by day %d, %d warnings before the expiry and %d after it are logged, want %d and %d", day, s, e, wantSoon, wantExpired)
			}
			time.Sleep(24 * time.Hour) //nolint:forbidigo // in a bubble of testing/synctest, sleeping takes no real time
		}
		synctest.Wait()
		if n := log.Count("credential_id=soon"); n != log.Count("credential_id=") {
			t.Error("there is a warning of a credential that is disabled or whose secret does not expire")
		}
		stop()
		<-ended
	})
}
