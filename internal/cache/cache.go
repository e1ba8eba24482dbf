// Package cache keeps tokens in memory, and manages their lives: shared token requests, early
// renewal, back-off after failures, and the replacement of rejected tokens.
//
// The replicas of a fleet share their tokens through a Store, which is Redis. The Cache has a copy
// of each token in memory, so a call that finds its token there does not read the Store. Without a
// Store, and while the Store fails, each replica requests its own tokens.
package cache

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/token"
)

const (
	// refreshTimeout limits the duration of one refresh: the wait for the lease and one token
	// request.
	refreshTimeout = 15 * time.Second
	// A caller that finds the current token in its safety margin waits at most marginWait for a
	// newer token, and then gets the current one.
	marginWait = time.Second
	// maxJoins is the maximum number of refreshes and reads of the Store for which one call waits.
	maxJoins = 3
)

const (
	defaultForcedLimit  = 3
	defaultForcedWindow = 10 * time.Minute
)

// Source requests tokens from a provider. Sources with the same token key are interchangeable.
type Source interface {
	// TokenKey returns the token key. The TokenKey must not leave the process, so Redis keys
	// contain an HMAC of it.
	TokenKey() string
	// RequestToken makes one token request. The error wraps a *fault.Error, whose RetryDelay is the
	// minimum wait that the provider asked for, or zero.
	RequestToken(ctx context.Context) (*token.Token, error)
}

// Options configure a Cache. The zero value is usable.
type Options struct {
	// Store shares the tokens with other replicas. Default: the tokens are not shared.
	Store Store
	// Clock returns the time. Default: the real clock.
	Clock clockwork.Clock
	// ForcedLimit is the maximum number of forced renewals for one token key within ForcedWindow.
	// Default: 3 within 10 minutes.
	ForcedLimit  int
	ForcedWindow time.Duration
	// Random returns random numbers from 0 to 1, which spread the times of requests. Default:
	// math/rand/v2.
	Random func() float64
	// Logger logs internal errors. Default: slog.Default.
	Logger *slog.Logger
	// Versions returns the versions of all decorations that may contain the token t of a token key.
	// A report of a rejected decoration concerns the current token if Versions returns the
	// decoration's version for it. By default, Versions returns nothing. The function must not
	// block, and must not call the Cache.
	Versions func(key string, t *token.Token) []string
	// Changed, if not nil, is called when the current token of a token key has changed. The
	// function must not block, and must not call the Cache.
	Changed func(key string)
	// ResultChanged, if not nil, is called when token requests for a token key begin to succeed, to
	// be refused, or to fail in another way. The function must not block, and must not call the
	// Cache.
	ResultChanged func(key string)
	// Forgotten, if not nil, is called when another replica has removed the recorded failures of
	// all tokens. The function must not block.
	Forgotten func()
	// Observe, if not nil, returns the Observer for a source's token. Observe is called once for
	// each token key, when the Cache first uses the key.
	Observe func(Source) Observer
	// Begin returns the context of a refresh. The argument `refresh` is a context that ends when
	// the Cache closes. The argument `call` is the context of the call that starts the refresh, or
	// an empty context if a renewal in the background starts it. By default, Begin returns its
	// first argument.
	Begin func(refresh, call context.Context) context.Context
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Store == nil {
		o.Store = noStore{}
	}
	o.ForcedLimit = cmp.Or(o.ForcedLimit, defaultForcedLimit)
	o.ForcedWindow = cmp.Or(o.ForcedWindow, defaultForcedWindow)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Versions == nil {
		o.Versions = func(string, *token.Token) []string { return nil }
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	if o.ResultChanged == nil {
		o.ResultChanged = func(string) {}
	}
	if o.Forgotten == nil {
		o.Forgotten = func() {}
	}
	if o.Observe == nil {
		o.Observe = func(Source) Observer { return unobserved{} }
	}
	if o.Begin == nil {
		o.Begin = func(refresh, _ context.Context) context.Context { return refresh }
	}
	return o
}

// Cache returns tokens to callers, and renews them until Close is called.
type Cache struct {
	options Options
	entries sync.Map // the *entry of each token key
	// epoch grows whenever the Cache may have missed a change in the Store. Before callers get a
	// token again, the Cache compares it with the one in the Store, unless it has done so since
	// epoch grew.
	epoch atomic.Uint64
	// lookUps limits how many comparisons of tokens with the Store run at once after changes in the
	// Store.
	lookUps chan struct{}

	// Close cancels ctx, which ends every refresh.
	ctx  context.Context //nolint:containedctx // refreshes outlive the calls that start them, and end with the Cache
	stop context.CancelFunc

	closing sync.Mutex
	closed  bool
	running sync.WaitGroup // background work; none begins after `closed` is set
}

// New returns an empty Cache, which follows the changes in its Store.
func New(options Options) *Cache {
	c := Prepare(options)
	c.Follow()
	return c
}

// Prepare is like New, but the Cache calls Versions, Changed, ResultChanged and Forgotten only
// after Follow was called. Prepare is for programs in which the functions of the Options need the
// Cache.
func Prepare(options Options) *Cache {
	ctx, stop := context.WithCancel(context.Background())
	return &Cache{options: options.withDefaults(), lookUps: make(chan struct{}, maxLookUps), ctx: ctx, stop: stop}
}

// Close cancels the refreshes and renewals that are under way, and waits until they have ended.
// Calls that wait for a refresh fail with fault.ServerStopping.
func (c *Cache) Close() {
	c.closing.Lock()
	c.closed = true
	c.closing.Unlock()
	c.stop()
	c.running.Wait()
	c.eachEntry(func(e *entry) { e.retire() })
}

// begin registers background work, and returns false if the Cache is closed. Close waits until the
// returned function is called.
func (c *Cache) begin() (done func(), ok bool) {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return nil, false
	}
	c.running.Add(1)
	return c.running.Done, true
}

// start runs f in the background. If the Cache is closed, start returns false and does not run f.
func (c *Cache) start(f func()) bool {
	done, ok := c.begin()
	if ok {
		go func() {
			defer done()
			f()
		}()
	}
	return ok
}

func (c *Cache) entry(source Source) *entry {
	key := source.TokenKey()
	if found, ok := c.entries.Load(key); ok {
		return found.(*entry)
	}
	observer := c.options.Observe(source)
	e := &entry{cache: c, key: key, source: source, observer: observer, warm: observer.Warm()}
	e.snapshot.Store(&snapshot{})
	stored, _ := c.entries.LoadOrStore(key, e)
	return stored.(*entry)
}

// Warm calls WarmAt with the source's token key and the present time.
func (c *Cache) Warm(source Source) (*token.Token, bool) {
	return c.WarmAt(source.TokenKey(), c.options.Clock.Now())
}

// WarmAt returns the current token of a token key from memory, without reading the Store. WarmAt
// returns false if the token has expired at the given time of the Cache's clock, or if the Cache
// may have missed a change of the token in the Store.
func (c *Cache) WarmAt(tokenKey string, now time.Time) (*token.Token, bool) {
	found, ok := c.entries.Load(tokenKey)
	if !ok {
		return nil, false
	}
	e := found.(*entry)
	s := e.snapshot.Load()
	if s.token == nil || s.epoch != c.epoch.Load() || !now.Before(s.expireTime) {
		return nil, false
	}
	e.warm.Inc()
	if !s.served {
		e.noteServed()
	}
	return s.token, true
}

// Current returns the source's current token as long as the provider accepts it, even in its safety
// margin. Current does not read the Store, and does not count as a use of the token.
func (c *Cache) Current(source Source) (*token.Token, bool) {
	found, ok := c.entries.Load(source.TokenKey())
	if !ok {
		return nil, false
	}
	s := found.(*entry).snapshot.Load()
	return s.token, s.isValid(c.options.Clock.Now())
}

// Served returns each current token that a caller received and that has not ended, with its Source.
// The Cache renews only the tokens that Served returns.
func (c *Cache) Served() iter.Seq2[Source, *token.Token] {
	return func(yield func(Source, *token.Token) bool) {
		c.entries.Range(func(_, value any) bool {
			e := value.(*entry)
			s := e.snapshot.Load()
			return !s.served || !s.isValid(c.options.Clock.Now()) || yield(e.source, s.token)
		})
	}
}

// Retain drops the token keys for which `keep` returns false: it ends the renewals of their tokens,
// and deletes their entries. Without a Store, Retain keeps the entry until the token has ended, so
// that a credential that is removed from the configuration and later added again has the same
// token.
func (c *Cache) Retain(keep func(key string) bool) {
	_, alone := c.options.Store.(noStore)
	c.eachEntry(func(e *entry) {
		if keep(e.key) {
			return
		}
		successor := e.retire()
		if alone && successor.snapshot.Load().isValid(c.options.Clock.Now()) {
			c.entries.Store(e.key, successor)
		} else {
			c.entries.Delete(e.key)
		}
	})
	if store, ok := c.options.Store.(retainer); ok {
		store.Retain(keep)
	}
}

// Token returns the source's current token. When no unexpired token is in memory, the call waits
// for the running refresh of the token, or starts one. If ctx ends first, the refresh continues for
// the other callers. While token requests fail, Token returns the current token as long as it is
// valid, even in its safety margin.
//
// The error is a *fault.Error, or the error of ctx.
func (c *Cache) Token(ctx context.Context, source Source) (*token.Token, error) {
	if t, ok := c.Warm(source); ok {
		return t, nil
	}
	e := c.entry(source)
	e.catchUp(ctx)
	if s := e.snapshot.Load(); s.isFresh(c.options.Clock.Now()) {
		e.warm.Inc()
		return e.serve(s), nil
	}
	return e.wait(ctx)
}

// Replace returns a token that the provider has not rejected. The given version is that of the
// rejected token. If the current token has another version, Replace returns the current token, and
// false. If the current token has the given version, Replace joins the refresh that is under way,
// or forces a renewal. If the renewal fails, the current token stays in use.
//
// The error is a *fault.Error, or the error of ctx.
func (c *Cache) Replace(
	ctx context.Context, source Source, version string,
) (current *token.Token, replaced bool, err error) {
	e := c.entry(source)
	if current, err = e.compared(ctx); err != nil {
		return nil, false, err
	}
	reported := current
	if !e.hasVersion(current, version) {
		if reported = e.rejectPending(version); reported == nil {
			return current, false, nil
		}
	}
	// The first refresh may have been started for another purpose, and may leave the reported token
	// current; in that case, the next refresh is a forced renewal.
	for range maxJoins {
		current, err = e.join(ctx, e.refresh(ctx, refresh{old: reported, forced: true}))
		if err != nil {
			return nil, false, err
		}
		if !e.hasVersion(current, version) {
			e.reject(version)
			return current, true, nil
		}
	}
	return nil, false, errSameToken
}

// compared reads the Store, and then returns the current token. If there is no current token,
// `compared` waits for one.
func (e *entry) compared(ctx context.Context) (*token.Token, error) {
	e.lookUp(ctx)
	if s := e.snapshot.Load(); s.isValid(e.cache.options.Clock.Now()) {
		return e.serve(s), nil
	}
	return e.wait(ctx)
}

// ForgetFailures removes the recorded failures of all tokens, so that new token requests are
// allowed at once.
func (c *Cache) ForgetFailures(ctx context.Context) error {
	err := c.options.Store.ForgetFailures(ctx)
	c.eachEntry((*entry).forgetFailure)
	return err
}
