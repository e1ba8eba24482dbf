// Package broker is the use case: authorise the caller, find the credential, and decorate. It
// does not depend on gRPC.
package broker

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// Tokens is the token cache. Package cache documents the methods.
type Tokens interface {
	WarmAt(tokenKey string, now time.Time) (*token.Token, bool)
	Current(source cache.Source) (*token.Token, bool)
	Token(ctx context.Context, source cache.Source) (*token.Token, error)
	Replace(ctx context.Context, source cache.Source, version string) (current *token.Token, replaced bool, err error)
	Retain(keep func(key string) bool)
}

// Denials limit how many denials of each caller are recorded.
type Denials interface {
	// Allow counts a denial, and reports whether to record it.
	Allow(caller access.Caller) bool
}

// VersionKeySize is the size of each of Options.VersionKeys in bytes.
const VersionKeySize = 32

// Options configure a Broker. All except Audit, Denials, StaticReported and Encode are required.
type Options struct {
	// Tokens caches tokens.
	Tokens Tokens
	// TokenClient makes token requests.
	TokenClient *strategies.TokenClient
	// VersionKeys are HMAC keys: one or more, of VersionKeySize random bytes each. The first
	// makes versions; replicas with the same first key make the same versions. Versions that
	// were made with any of the keys are recognised in reports.
	VersionKeys [][]byte
	// Clock is the time.
	Clock clockwork.Clock
	// Logger gets the problems of credentials that an operator must know of.
	Logger *slog.Logger
	// Audit takes a record of each decision. Nil: there are no records.
	Audit audit.Log
	// Denials limit the records of denials. Nil: no limit.
	Denials Denials
	// StaticReported is called for each report about static material, with the IDs of the
	// provider and the auth method. It must not block. Nil: nothing is called.
	StaticReported func(provider, authMethod string, report StaticReport)
	// Encode makes the Encoded of a Decoration. Nil: there is none.
	Encode func(*Decoration) []byte
}

// Broker serves credentials. It is safe for concurrent use. Close must be called.
type Broker struct {
	options Options
	wall    func(time.Time) time.Time // converts times of options.Clock to wall-clock times

	current atomic.Pointer[Generation]
	mu      sync.Mutex    // held while current is replaced
	retry   chan struct{} // closed when changed secrets are tried again; guarded by mu

	watching sync.Mutex // guards watches
	watches  map[*Watch]struct{}

	// ctx ends with Close, and with it all watches and background requests.
	ctx        context.Context //nolint:containedctx // it outlives the calls that start something
	stop       context.CancelFunc
	background sync.WaitGroup
}

// New returns a Broker that serves a Load.
func New(load Load, options Options) (*Broker, error) {
	if len(options.VersionKeys) == 0 {
		return nil, fmt.Errorf("at least one version key is required")
	}
	for _, key := range options.VersionKeys {
		if len(key) != VersionKeySize {
			return nil, fmt.Errorf("a version key has %d bytes, and must have %d", len(key), VersionKeySize)
		}
	}
	b := &Broker{
		options: options, wall: clock.WallOf(options.Clock), retry: make(chan struct{}), watches: map[*Watch]struct{}{},
	}
	b.current.Store(new(Generation))
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b, b.Use(load)
}

// Close ends the watches, with fault.ServerStopping, and all background requests. Other calls
// are still answered.
func (b *Broker) Close() {
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	b.background.Wait()
}

// Use replaces the Load that is served, or fails and changes nothing. Only what changed is
// computed again.
func (b *Broker) Use(load Load) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, inGrace, err := b.newGeneration(load, b.current.Load())
	if err != nil {
		return err
	}
	b.current.Store(g)
	b.retryRefused() // requests for replaced accounts end
	if b.ctx.Err() == nil {
		for _, a := range inGrace {
			b.background.Go(func() { b.fetchFirstToken(a) })
		}
	}
	b.options.Tokens.Retain(func(key string) bool { return len(g.byToken[key]) > 0 })
	b.markAll()
	return nil
}

// ProofsChanged makes a new Generation, so that the callers of connections and of open watches are
// authenticated again: a key that authenticated them may no longer be accepted.
func (b *Broker) ProofsChanged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.current.Load()
	b.current.Store(&Generation{
		Load: g.Load, Number: g.Number + 1, seed: maphash.MakeSeed(), accounts: g.accounts, byToken: g.byToken,
	})
	b.markAll()
}

// RetryRefused makes the broker try changed secrets that a provider rejected again at once.
func (b *Broker) RetryRefused() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retryRefused()
}

// retryRefused is RetryRefused for a caller that holds b.mu.
func (b *Broker) retryRefused() {
	close(b.retry)
	b.retry = make(chan struct{})
}

// TokenChanged is called when the cache has a new token with this key.
func (b *Broker) TokenChanged(key string) {
	g := b.current.Load()
	for _, id := range g.byToken[key] {
		g.accounts[id].grace.Store(nil)
	}
	b.mark(g.byToken[key]...)
}

// VersionsOf returns the versions under which callers may have got a token with this key.
func (b *Broker) VersionsOf(tokenKey string, t *token.Token) []string {
	var versions []string
	g := b.current.Load()
	for _, id := range g.byToken[tokenKey] {
		versions = append(versions, b.versions(g.accounts[id], t)...)
	}
	return versions
}

// CredentialsOf returns the IDs of the credentials that use the token with this key, sorted.
// The caller must not change the slice.
func (b *Broker) CredentialsOf(tokenKey string) []string { return b.current.Load().byToken[tokenKey] }
