package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// `hanging` is a token cache whose calls never return a token.
type hanging struct{}

func (hanging) WarmAt(string, time.Time) (*token.Token, bool) { return nil, false }

func (hanging) Current(cache.Source) (*token.Token, bool) { return nil, false }

func (hanging) Retain(func(string) bool) {}

func (hanging) KeepWarm(cache.Source, time.Duration) {}

func (hanging) Status(string) cache.Status { return cache.Status{} }

func (hanging) Token(ctx context.Context, _ cache.Source) (*token.Token, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) Replace(ctx context.Context, _ cache.Source, _ string) (*token.Token, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

func newHanging(t *testing.T) *broker.Broker {
	t.Helper()
	provider := catalog.Builtin().Provider("sendpulse")
	slow := &credentials.Credential{
		ID:       "slow",
		Provider: provider,
		Method:   provider.AuthMethod("oauth2_client_credentials"),
		Values:   map[string]secret.Text{"client_id": secret.New("i"), "client_secret": secret.New("s")},
	}
	b, err := broker.New(load(credentials.NewSet(slow), access.AllowAll()), broker.Options{
		Tokens:      hanging{},
		TokenClient: strategies.NewTokenClient(strategies.TokenClientOptions{}),
		VersionKeys: [][]byte{make([]byte, broker.VersionKeySize)},
		Clock:       clockwork.NewRealClock(),
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func load(set *credentials.Set, policy *access.Policy) broker.Load {
	return broker.Load{Config: &config.Config{Credentials: set, Policy: policy}}
}

// The variable nobody is the caller that a broker without authentication assumes for each call.
var nobody = broker.Caller{Caller: access.Caller{Name: "local", Method: "none"}}

func TestAnswerComesShortlyBeforeTheDeadline(t *testing.T) {
	calls := map[string]func(context.Context, *broker.Broker) error{
		"get": func(ctx context.Context, b *broker.Broker) error {
			_, err := b.Get(ctx, nobody, "slow")
			return err
		},
		"batch": func(ctx context.Context, b *broker.Broker) error {
			return b.GetBatch(ctx, nobody, []string{"slow"})[0].Err
		},
		"report": func(ctx context.Context, b *broker.Broker) error {
			_, _, err := b.ReportRejection(ctx, nobody, "slow", "v", 401)
			return err
		},
		"report of a status that does not mean rejection": func(ctx context.Context, b *broker.Broker) error {
			_, _, err := b.ReportRejection(ctx, nobody, "slow", "v", 403)
			return err
		},
	}
	for name, call := range calls {
		for deadline, want := range map[time.Duration]time.Duration{
			10 * time.Second:       10*time.Second - 200*time.Millisecond,
			400 * time.Millisecond: 300 * time.Millisecond,
		} {
			t.Run(name+" within "+deadline.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newHanging(t)
					ctx, cancel := context.WithTimeout(t.Context(), deadline)
					defer cancel()
					began := time.Now()
					err := call(ctx, b)
					if waited := time.Since(began); waited != want {
						t.Errorf("the answer came after %v, want %v", waited, want)
					}
					if known := fault.From(err); known.Reason != fault.ProviderUnavailable || known.RetryDelay == 0 {
						t.Errorf("the error is %v", err)
					}
				})
			})
		}
	}
}

func TestBatchWithoutADeadlineWaitsFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHanging(t)
		began := time.Now()
		if err := b.GetBatch(t.Context(), nobody, []string{"slow"})[0].Err; fault.From(err).Reason != fault.ProviderUnavailable {
			t.Errorf("the error is %v", err)
		}
		if waited := time.Since(began); waited > 5*time.Second || waited < 4*time.Second {
			t.Errorf("the answer came after %v, want shortly before 5s", waited)
		}
	})
}

func TestCallerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHanging(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := b.Get(ctx, nobody, "slow"); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, want context.Canceled", err)
		}
	})
}
