// Package broker is the use case: find a credential, and decorate. It knows nothing
// of gRPC. It imports packages cache, credentials, fault, secret, strategies and
// token.
package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// batchPatience is how long the items of a batch without a deadline may take.
	batchPatience = 5 * time.Second
	// The last part of a deadline is kept for telling the caller why there is no
	// answer: maxReserve, or a quarter of what is left where that is less.
	maxReserve      = 200 * time.Millisecond
	reserveFraction = 4
	// retryDelay is when to try again after a call that ran out of time.
	retryDelay = time.Second
)

// noToken is the token of static material.
var noToken secret.Text

// Tokens is what the broker needs of a token cache.
type Tokens interface {
	Warm(source cache.Source) (*token.Token, bool)
	Token(ctx context.Context, source cache.Source) (*token.Token, error)
	Replace(ctx context.Context, source cache.Source, rejects func(*token.Token) bool) (current *token.Token, replaced bool, err error)
}

// Options configure a Broker. All are required.
type Options struct {
	// Tokens hands out tokens.
	Tokens Tokens
	// TokenClient makes token requests.
	TokenClient *strategies.TokenClient
	// VersionKey is the key of the HMAC that makes versions: 32 random bytes, the same
	// in every replica of a fleet.
	VersionKey []byte
	// Clock is the time.
	Clock clockwork.Clock
}

// Broker answers for credentials. It is safe for concurrent use.
type Broker struct {
	tokens     Tokens
	client     *strategies.TokenClient
	versionKey []byte
	clock      clockwork.Clock
	current    atomic.Pointer[snapshot]
}

// New returns a Broker for these credentials.
func New(set *credentials.Set, options Options) (*Broker, error) {
	b := &Broker{
		tokens:     options.Tokens,
		client:     options.TokenClient,
		versionKey: options.VersionKey,
		clock:      options.Clock,
	}
	s, err := newSnapshot(set, b.client)
	if err != nil {
		return nil, err
	}
	b.current.Store(s)
	return b, nil
}

// Get returns the current decoration of a credential. It answers shortly before the
// deadline of ctx. The error is a *fault.Error, or that of ctx.
func (b *Broker) Get(ctx context.Context, id string) (*Decoration, error) {
	a, err := b.current.Load().find(id)
	if err != nil {
		return nil, err
	}
	if ready, decoration, err := b.ready(a); ready {
		return decoration, err
	}
	return b.obtain(ctx, a)
}

// ready returns a decoration for which there is nothing to wait for.
func (b *Broker) ready(a *account) (ready bool, decoration *Decoration, err error) {
	var t *token.Token
	if a.tokens != nil {
		if t, ready = b.tokens.Warm(a.tokens); !ready {
			return false, nil, nil
		}
	}
	decoration, err = b.decorate(a, t)
	return true, decoration, err
}

// obtain returns a decoration whose token has to be waited for.
func (b *Broker) obtain(ctx context.Context, a *account) (*Decoration, error) {
	limited, cancel := withReserve(ctx)
	defer cancel()
	t, err := b.tokens.Token(limited, a.tokens)
	if err != nil {
		return nil, outOfTime(ctx, err)
	}
	return b.decorate(a, t)
}

// Result is what a batch has for one ID: a decoration or an error.
type Result struct {
	CredentialID string
	Decoration   *Decoration
	Err          error
}

// GetBatch returns a result for each ID, in order. It waits for all at once, and no
// longer than until shortly before the deadline of ctx, or 5 seconds without one.
func (b *Broker) GetBatch(ctx context.Context, ids []string) []Result {
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, batchPatience)
		defer cancel()
		ctx = limited
	}
	s := b.current.Load()
	results := make([]Result, len(ids))
	var waiting sync.WaitGroup
	for i, id := range ids {
		result := &results[i]
		result.CredentialID = id
		a, err := s.find(id)
		if err != nil {
			result.Err = err
			continue
		}
		var ready bool
		if ready, result.Decoration, result.Err = b.ready(a); !ready {
			waiting.Go(func() { result.Decoration, result.Err = b.obtain(ctx, a) })
		}
	}
	waiting.Wait()
	return results
}

// Outcome is what came of a report.
type Outcome int

// The outcomes. Their meaning stands beside the proto enum's values.
const (
	AlreadyReplaced Outcome = iota + 1
	Replaced
	NotReplaceable
)

// ReportRejection answers a caller whose request with this version was answered with
// this HTTP status. The error is a *fault.Error, or that of ctx.
func (b *Broker) ReportRejection(ctx context.Context, id, version string, status int) (*Decoration, Outcome, error) {
	a, err := b.current.Load().find(id)
	if err != nil {
		return nil, 0, err
	}
	if a.tokens == nil || !slices.Contains(a.credential.Method.RejectedStatuses, status) {
		return b.reportUnreplaceable(ctx, a, version)
	}
	limited, cancel := withReserve(ctx)
	defer cancel()
	t, replaced, err := b.tokens.Replace(limited, a.tokens, func(t *token.Token) bool {
		decoration, err := b.decorate(a, t)
		return err == nil && decoration.Version == version
	})
	if err != nil {
		return nil, 0, outOfTime(ctx, err)
	}
	decoration, err := b.decorate(a, t)
	if err != nil {
		return nil, 0, err
	}
	if replaced {
		return decoration, Replaced, nil
	}
	return decoration, AlreadyReplaced, nil
}

// reportUnreplaceable answers a report that forces no renewal. Static material that
// differs from the reported one was changed in the configuration: that is worth a try.
func (b *Broker) reportUnreplaceable(ctx context.Context, a *account, version string) (*Decoration, Outcome, error) {
	ready, decoration, err := b.ready(a)
	if !ready {
		decoration, err = b.obtain(ctx, a)
	}
	if err != nil {
		return nil, 0, err
	}
	if a.tokens == nil && decoration.Version != version {
		return decoration, AlreadyReplaced, nil
	}
	return decoration, NotReplaceable, nil
}

// withReserve returns ctx with an end shortly before its deadline.
func withReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	reserve := min(maxReserve, time.Until(deadline)/reserveFraction)
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}

// outOfTime turns the end of a withReserve into an error that says what to do. When the
// caller itself gave up, nobody reads the answer.
func outOfTime(ctx context.Context, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.ProviderUnavailable, "the provider has not answered in the time that this call had").WithRetryDelay(retryDelay)
}
