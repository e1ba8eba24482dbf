// Package broker implements the broker's operations: it authorises the caller, finds the
// credential, and returns its decoration. The package does not depend on gRPC.
package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// Tokens is the interface of the token cache. Its methods are documented at cache.Cache.
type Tokens interface {
	WarmAt(tokenKey string, now time.Time) (*token.Token, bool)
	Current(source cache.Source) (*token.Token, bool)
	Token(ctx context.Context, source cache.Source) (*token.Token, error)
	Replace(ctx context.Context, source cache.Source, version string) (current *token.Token, replaced bool, err error)
	Retain(keep func(key string) bool)
	Status(tokenKey string) cache.Status
	KeepWarm(source cache.Source, ahead time.Duration)
}

// Denials limits how many denials of each caller are written to the audit log.
type Denials interface {
	// Allow counts a denial of a caller, and reports whether to write an audit record of it.
	Allow(caller access.Caller) bool
}

// VersionKeySize is the size in bytes of each key in Options.VersionKeys.
const VersionKeySize = 32

// Options configure a Broker. All fields except Audit, Denials, StaticReported, UsageReported,
// SharedUsage, Managed and Encode are required.
type Options struct {
	Tokens      Tokens
	TokenClient *strategies.TokenClient
	// VersionKeys are one or more HMAC keys of VersionKeySize random bytes. The broker makes the
	// versions of decorations with the first of these keys, so replicas with the same first key
	// make the same versions. In reports of rejections, the broker recognises the versions that
	// were made with any of the keys.
	VersionKeys [][]byte
	Clock       clockwork.Clock
	// Logger logs problems with credentials that an operator must know about.
	Logger *slog.Logger
	// Audit is the log in which each access decision is recorded. If Audit is nil, nothing is
	// recorded.
	Audit audit.Log
	// Denials limits how many denials of each caller are recorded. If Denials is nil, all denials
	// are recorded.
	Denials Denials
	// StaticReported, if it is not nil, is called for each report about static material, with the
	// IDs of the provider and the auth method. StaticReported must not block.
	StaticReported func(provider, authMethod string, report StaticReport)
	// UsageReported, if it is not nil, is called for each version in a report of usage, with the IDs
	// of the provider and the auth method. The parameter `current` reports whether the broker sends
	// this version to callers. UsageReported must not block.
	UsageReported func(provider, authMethod string, current bool)
	// SharedUsage keeps the usage of versions for all replicas of a fleet. If SharedUsage is nil, the
	// Broker remembers only the usage that it has seen itself.
	SharedUsage SharedUsage
	// Managed is true if there are managed credentials. Until the managed credentials are known,
	// calls for IDs that the configuration does not declare fail with fault.StoreUnavailable.
	Managed bool
	// Encode computes Decoration.Encoded. If the option Encode is nil, Decoration.Encoded is nil
	// too.
	Encode func(*Decoration) []byte
}

// Broker serves the material of credentials, and is safe for concurrent use. Close must be called
// when the Broker is no longer needed.
type Broker struct {
	options Options
	wall    func(time.Time) time.Time // function that converts times of options.Clock to wall-clock times

	current atomic.Pointer[Generation]
	index   *tokenIndex
	mu      sync.Mutex    // mutex that is locked while `current` is replaced
	retry   chan struct{} // closed when the broker must retry changed secrets that were rejected; guarded by `mu`

	requests requestCounts
	uses     uses
	usages   usages

	warm warm // guarded by `mu`, except for the field `added`

	watching     sync.Mutex // guards the following fields
	watches      map[*Watch]struct{}
	stateWatches map[*StateWatch]struct{}

	ctx        context.Context //nolint:containedctx // background work must continue after the call that started it
	stop       context.CancelFunc
	background sync.WaitGroup
}

// New returns a Broker that serves the credentials in a loaded configuration.
func New(load Load, options Options) (*Broker, error) {
	if len(options.VersionKeys) == 0 {
		return nil, fmt.Errorf("Options.VersionKeys is empty")
	}
	for _, key := range options.VersionKeys {
		if len(key) != VersionKeySize {
			return nil, fmt.Errorf("a version key has %d bytes, and must have %d", len(key), VersionKeySize)
		}
	}
	b := &Broker{
		options: options, wall: clock.WallOf(options.Clock), retry: make(chan struct{}), watches: map[*Watch]struct{}{},
		stateWatches: map[*StateWatch]struct{}{},
		index:        newTokenIndex(), warm: warm{map[string]int{}, make(chan struct{}, 1)},
	}
	if options.SharedUsage != nil {
		b.usages.unsaved = map[string]struct{}{}
	}
	b.current.Store(&Generation{entries: newEntries(), pending: options.Managed})
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b, b.Use(load)
}

// Close ends all watches with the reason fault.ServerStopping, and all background requests. After
// Close, the broker still answers calls other than watches.
func (b *Broker) Close() {
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	b.background.Wait()
}

// Use makes the broker serve another Load. If Use fails, the broker continues to serve the previous
// Load. Cached results for unchanged credentials stay in the cache.
func (b *Broker) Use(load Load) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	previous := b.current.Load()
	g, err := b.newGeneration(load, previous)
	if err != nil {
		return err
	}
	var ids []string
	for e := range g.entries.all() {
		ids = append(ids, e.credential.ID)
	}
	for e := range previous.entries.all() {
		if g.entries.get(e.credential.ID) == nil {
			ids = append(ids, e.credential.ID)
		}
	}
	b.replace(g, ids)
	b.retryRefused() // the reload may have replaced secrets that providers rejected
	b.markAll()
	return nil
}

// Manage makes the broker serve changed managed credentials, and stop serving the managed
// credentials with the IDs in `removed`. IDs that the configuration declares are ignored.
func (b *Broker) Manage(changed []*credentials.Credential, removed []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	previous := b.current.Load()
	next := map[string]*entry{}
	for _, credential := range changed {
		next[credential.ID] = newEntry(credential, previous.entries.get(credential.ID))
	}
	for _, id := range removed {
		next[id] = nil
	}
	maps.DeleteFunc(next, func(id string, _ *entry) bool {
		known := previous.entries.get(id)
		return known != nil && known.credential.Stored == nil
	})
	g := *previous
	g.entries, g.pending = previous.entries.with(next), false
	if g.Config.Policy.NamesProviders() {
		g.decisions = newDecisions()
	}
	ids := slices.Collect(maps.Keys(next))
	b.replace(&g, ids)
	if previous.pending {
		b.markAll()
	} else {
		b.mark(ids...)
	}
}

// ProofsChanged must be called after a change of the keys that authenticate callers. ProofsChanged
// makes a new Generation, so that the broker authenticates the callers of connections and of open
// watches again, because the key that authenticated them may no longer be accepted.
func (b *Broker) ProofsChanged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := *b.current.Load()
	next.Number, next.decisions = next.Number+1, newDecisions()
	b.current.Store(&next)
	b.markAll()
}

// RetryRefused makes the broker request tokens at once for all changed secrets that their providers
// rejected.
func (b *Broker) RetryRefused() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retryRefused()
}

// retryRefused does the work of RetryRefused. The caller must hold b.mu.
func (b *Broker) retryRefused() {
	close(b.retry)
	b.retry = make(chan struct{})
}

// TokenChanged must be called when the cache has stored a new token under the given token key.
func (b *Broker) TokenChanged(key string) {
	for _, a := range b.index.users(key) {
		a.grace.Store(nil)
		b.mark(a.credential.ID)
	}
}

// VersionsOf returns every version under which callers may have received a decoration with this
// token.
func (b *Broker) VersionsOf(tokenKey string, t *token.Token) []string {
	var versions []string
	for _, a := range b.index.users(tokenKey) {
		versions = append(versions, b.versions(a, t)...)
	}
	return versions
}

// StoredVersionsOf returns the sorted versions of managed credentials whose token has this token key,
// in the form ID:NUMBER.
func (b *Broker) StoredVersionsOf(tokenKey string) []string {
	var versions []string
	for _, a := range b.index.users(tokenKey) {
		if a.version != 0 {
			versions = append(versions, fmt.Sprintf("%s:%d", a.credential.ID, a.version))
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

// CredentialsOf returns the sorted IDs of the credentials whose token has this token key.
func (b *Broker) CredentialsOf(tokenKey string) []string {
	var ids []string
	for _, a := range b.index.users(tokenKey) {
		ids = append(ids, a.credential.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
