// Package broker is the use case: find a credential, and decorate. It knows nothing
// of gRPC.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// batchPatience is how long the items of a batch without a deadline may take.
const batchPatience = 5 * time.Second

// Tokens is what the broker needs of a token cache.
type Tokens interface {
	WarmAt(tokenKey string, now time.Time) (*token.Token, bool)
	Held(source cache.Source) (*token.Token, bool)
	Token(ctx context.Context, source cache.Source) (*token.Token, error)
	Replace(ctx context.Context, source cache.Source, rejects func(*token.Token) bool) (current *token.Token, replaced bool, err error)
	Retain(keep func(key string) bool)
}

// VersionKeySize is the size of each of Options.VersionKeys, in bytes.
const VersionKeySize = 32

// Options configure a Broker. All but Audit, Denials, StaticReported and Encode are required.
type Options struct {
	// Tokens hands out tokens.
	Tokens Tokens
	// TokenClient makes token requests.
	TokenClient *strategies.TokenClient
	// VersionKeys are keys of the HMAC that makes versions: VersionKeySize random bytes
	// each, at least one. Replicas with the same first key give the same versions; those
	// that were made with another key are understood when they are reported.
	VersionKeys [][]byte
	// Clock is the time.
	Clock clockwork.Clock
	// Logger gets what an operator has to know of changed secrets.
	Logger *slog.Logger
	// Audit takes a record of each decision. Nil: nobody does.
	Audit audit.Log
	// Denials bound the records of denials. Nil: nobody does.
	Denials Denials
	// StaticReported is called for each report about static material, with the IDs of the
	// provider and the auth method. It must not wait. Nil: nothing is called.
	StaticReported func(provider, authMethod string, report StaticReport)
	// Encode encodes a Decoration, as its Encoded. Nil: nothing does.
	Encode func(*Decoration) []byte
}

// Broker answers for credentials. It is safe for concurrent use. Close ends it.
type Broker struct {
	tokens      Tokens
	client      *strategies.TokenClient
	versionKeys [][]byte
	clock       clockwork.Clock
	wall        func(time.Time) time.Time // converts times of clock into those of the wall clock
	logger      *slog.Logger
	audit       audit.Log
	denials     Denials
	// staticReported is never nil.
	staticReported func(provider, authMethod string, report StaticReport)

	encode func(*Decoration) []byte // nil: nothing does

	current atomic.Pointer[Generation]
	using   sync.Mutex    // held while current changes, and guards retry
	retry   chan struct{} // closed to end the waits of handovers
	watches watches
	// proofs is how often what proves identities has changed.
	proofs atomic.Uint64

	// ctx ends with Close, and with it what goes on in the background.
	ctx  context.Context //nolint:containedctx // it outlives the calls that start something
	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a Broker that serves a Load.
func New(load Load, options Options) (*Broker, error) {
	if len(options.VersionKeys) == 0 {
		return nil, errors.New("there is no version key")
	}
	for _, key := range options.VersionKeys {
		if len(key) != VersionKeySize {
			return nil, fmt.Errorf("a version key has %d bytes, and must have %d", len(key), VersionKeySize)
		}
	}
	b := &Broker{
		tokens:      options.Tokens,
		client:      options.TokenClient,
		versionKeys: options.VersionKeys,
		clock:       options.Clock,
		wall:        clock.WallOf(options.Clock),
		logger:      options.Logger,
		audit:       options.Audit,
		denials:     options.Denials,
		encode:      options.Encode,
		retry:       make(chan struct{}),
	}
	b.staticReported = options.StaticReported
	if b.staticReported == nil {
		b.staticReported = func(string, string, StaticReport) {}
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b, b.Use(load)
}

// Close ends the watches, with fault.ServerStopping, and what goes on in the
// background. Other calls go on being answered.
func (b *Broker) Close() {
	b.using.Lock()
	b.stop()
	b.using.Unlock()
	b.done.Wait()
}

// Use serves a Load in place of the one before, or fails and changes nothing. Only what changed is
// computed anew.
func (b *Broker) Use(load Load) error {
	b.using.Lock()
	defer b.using.Unlock()
	before := b.current.Load()
	after, err := newGeneration(load, b.client, before)
	if err != nil {
		return err
	}
	var changed []*account
	if before != nil {
		changed = b.handOver(before, after)
	}
	b.current.Store(after)
	if len(changed) > 0 {
		b.retryRefused() // those that are replaced end
	}
	if b.ctx.Err() == nil { // Close waits for those that have begun
		for _, a := range changed {
			b.done.Go(func() { b.takeOver(a) })
		}
	}
	b.tokens.Retain(func(key string) bool { return len(after.byToken[key]) > 0 })
	if before != nil && (!after.policy().Equal(before.policy()) || after.Callers != before.Callers) {
		b.watches.touchAll()
	}
	b.watches.touch(after.changedFrom(before)...)
	return nil
}

// ProofsChanged has the callers of open watches be identified again: a key that they were
// identified by may be accepted no longer.
func (b *Broker) ProofsChanged() {
	b.proofs.Add(1)
	b.watches.touchAll()
}

// Proofs returns a number that ProofsChanged changes.
func (b *Broker) Proofs() uint64 { return b.proofs.Load() }

// RetryRefused has changed secrets that were refused tried again at once.
func (b *Broker) RetryRefused() {
	b.using.Lock()
	defer b.using.Unlock()
	b.retryRefused()
}

// retryRefused is RetryRefused for a caller that holds b.using.
func (b *Broker) retryRefused() {
	close(b.retry)
	b.retry = make(chan struct{})
}

// Watchers is how many follow something.
func (b *Broker) Watchers() int { return b.watches.len() }

// TokenChanged tells the broker that there is a new token of this key.
func (b *Broker) TokenChanged(key string) {
	if s := b.current.Load(); s != nil {
		b.watches.touch(s.byToken[key]...)
	}
}

// CredentialsOf returns the IDs of the credentials that use the token with this key, sorted.
// The caller must not change the slice.
func (b *Broker) CredentialsOf(tokenKey string) []string {
	if s := b.current.Load(); s != nil {
		return s.byToken[tokenKey]
	}
	return nil
}

// Result is what a batch has for one ID: a decoration or an error.
type Result struct {
	CredentialID string
	Decoration   *Decoration
	Err          error
}

// GetBatch returns a result for each ID, in order. It waits for all at once, and no
// longer than until shortly before the deadline of ctx, or 5 seconds without one.
func (b *Broker) GetBatch(ctx context.Context, caller Caller, ids []string) []Result {
	called := ctx
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, batchPatience)
		defer cancel()
		ctx = limited
	}
	g, now := b.generationOf(caller), b.clock.Now()
	results := make([]Result, len(ids))
	grants := make([]string, len(ids))
	var waiting sync.WaitGroup
	for i, id := range ids {
		result := &results[i]
		result.CredentialID = id
		a, grant, err := g.admit(caller.Name, id)
		grants[i] = grant
		if err != nil {
			result.Err = b.refused(caller.Caller, err)
			continue
		}
		var ready bool
		if ready, result.Decoration, result.Err = b.ready(a, caller.Caller, now); !ready {
			waiting.Go(func() {
				defer b.recoverTo(&result.Err)
				result.Decoration, result.Err = b.obtain(ctx, a)
			})
		}
	}
	waiting.Wait()
	if _, ok := called.Deadline(); !ok { // the records together may take no longer than one
		limited, cancel := context.WithTimeout(called, batchPatience)
		defer cancel()
		called = limited
	}
	for i := range results {
		r := &results[i]
		record := recordOf(caller.Caller, audit.Batch, r.CredentialID)
		record.Grant = grants[i]
		r.Decoration, r.Err = b.audited(called, record, r.Decoration, r.Err)
	}
	return results
}

// recoverTo turns a panic into an error. Where nobody else does, it would end the
// process, and with it everybody's calls.
func (b *Broker) recoverTo(err *error) {
	if cause := recover(); cause != nil {
		b.logger.Error("panic while waiting for a token", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		*err = fault.Opaque()
	}
}
