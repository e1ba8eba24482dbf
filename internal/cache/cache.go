// Package cache keeps tokens, and makes one token request for however many callers.
//
// A Cache manages the life of a token: requests that callers share, early renewal, backing off, and
// the replacement of rejected tokens. The replicas of a fleet share a Store. The Cache has a copy in
// memory, so a warm call does not read the Store. Without a Store, and while it fails, each replica
// requests tokens for itself.
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

// Bounds on waiting.
const (
	// refreshTimeout bounds one refresh: waiting for the lease and one token request.
	refreshTimeout = 15 * time.Second
	// marginWait is how long a caller waits for the successor of a token that is in its safety
	// margin, before it gets that token.
	marginWait = time.Second
	// maxJoins is how many refreshes or look-ups one call waits for.
	maxJoins = 3
)

// Defaults of Options.
const (
	defaultForcedLimit  = 3
	defaultForcedWindow = 10 * time.Minute
)

// Source requests the tokens of one key. Sources with the same key are interchangeable.
type Source interface {
	// TokenKey names the token. A shared Store replaces it by an HMAC.
	TokenKey() string
	// RequestToken makes one token request. Its error has a *fault.Error in its chain, whose
	// RetryDelay is the shortest wait that the provider asked for.
	RequestToken(ctx context.Context) (*token.Token, error)
}

// Options configure a Cache. The zero value is usable.
type Options struct {
	// Store shares the tokens with other replicas. Default: no replica shares them.
	Store Store
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// ForcedLimit is how many forced renewals one key may have within ForcedWindow. Default: 3
	// within 10 minutes.
	ForcedLimit  int
	ForcedWindow time.Duration
	// Random returns numbers from 0 to 1, for jitter. Default: math/rand/v2.
	Random func() float64
	// Logger gets faults of the broker's own. Default: slog.Default.
	Logger *slog.Logger
	// Versions returns the versions under which callers may have got a token of a key. It must not
	// wait, and not call the Cache. Default: none, so that no report matches a token.
	Versions func(key string, t *token.Token) []string
	// Changed is called when a key has another current token. It must not wait, and not call the
	// Cache. Default: does nothing.
	Changed func(key string)
	// Forgotten is called when another replica had every key tried again at once. It must not wait.
	// Default: does nothing.
	Forgotten func()
	// Observe returns the Observer of a source's token. It is called once for each token that the
	// Cache gets to know. Default: an Observer that does nothing.
	Observe func(Source) Observer
	// Begin returns the context of a refresh, made from one that ends with the Cache. The other is
	// that of the call that starts the refresh; an empty one for a renewal in the background.
	// Default: the first context.
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

// Cache hands out tokens. Close ends it.
type Cache struct {
	options Options
	entries sync.Map // of token key to *entry
	// epoch grows whenever news of the Store may have been missed. A token that was read in an
	// earlier epoch is looked up before it is served again.
	epoch atomic.Uint64

	// ctx ends with Close, and with it every refresh.
	ctx  context.Context //nolint:containedctx // refreshes outlive the calls that start them, and end with the Cache
	stop context.CancelFunc

	closing sync.Mutex
	closed  bool
	running sync.WaitGroup // grows while closing is locked and closed is false
}

// New returns an empty Cache, which follows its Store.
func New(options Options) *Cache {
	c := Prepare(options)
	c.Follow()
	return c
}

// Prepare is New, but the Cache calls Versions, Changed and Forgotten only once Follow was called: for
// callers whose functions need the Cache itself.
func Prepare(options Options) *Cache {
	ctx, stop := context.WithCancel(context.Background())
	c := &Cache{options: options.withDefaults(), ctx: ctx, stop: stop}
	return c
}

// Close ends the refreshes and renewals that are under way, and waits for their end. Calls that wait
// for one fail with fault.ServerStopping.
func (c *Cache) Close() {
	c.closing.Lock()
	c.closed = true
	c.closing.Unlock()
	c.stop()
	c.running.Wait()
	c.eachEntry((*entry).stopRenewals)
}

// begin counts something that Close waits for, until done is called. It reports false when the Cache
// is closed.
func (c *Cache) begin() (done func(), ok bool) {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return nil, false
	}
	c.running.Add(1)
	return c.running.Done, true
}

// start runs f in the background. It reports false, and does not, when the Cache is closed.
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

// entry returns the entry of the source's token.
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

// Warm is WarmAt the present.
func (c *Cache) Warm(source Source) (*token.Token, bool) {
	return c.WarmAt(source.TokenKey(), c.options.Clock.Now())
}

// WarmAt returns the current token of a Source's key when it has not expired at the time now, by the
// Cache's clock, and no news of it may have been missed. It does not read the Store.
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

// Current returns the source's current token while the provider accepts it, even in its safety
// margin. It does not read the Store, and does not count as a use of the token.
func (c *Cache) Current(source Source) (*token.Token, bool) {
	found, ok := c.entries.Load(source.TokenKey())
	if !ok {
		return nil, false
	}
	s := found.(*entry).snapshot.Load()
	return s.token, s.isValid(c.options.Clock.Now())
}

// Served returns the current tokens that callers got and that have not ended: those that are
// renewed. They come with their sources.
func (c *Cache) Served() iter.Seq2[Source, *token.Token] {
	return func(yield func(Source, *token.Token) bool) {
		c.entries.Range(func(_, value any) bool {
			e := value.(*entry)
			s := e.snapshot.Load()
			return !s.served || !s.isValid(c.options.Clock.Now()) || yield(e.source, s.token)
		})
	}
}

// Retain ends the renewals of the keys for which keep returns false, and drops their entries; without a
// Store, once their tokens have ended: the token of a secret that is configured again is used again.
func (c *Cache) Retain(keep func(key string) bool) {
	_, alone := c.options.Store.(noStore)
	c.eachEntry(func(e *entry) {
		if keep(e.key) {
			return
		}
		e.stopRenewals()
		if !alone || !e.snapshot.Load().isValid(c.options.Clock.Now()) {
			c.entries.Delete(e.key)
		}
	})
	if store, ok := c.options.Store.(retainer); ok {
		store.Retain(keep)
	}
}

// Token returns the source's current token. When it is not warm, the call joins the refresh that
// fetches it, or starts one; when ctx ends first, the refresh goes on for the other callers. While
// requests fail, a token is returned for as long as it is valid, even in its safety margin.
//
// The error is a *fault.Error, or that of ctx.
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

// Replace returns a token that the provider has not rejected; version is the one that it has. When
// the current token has another version, Replace returns that token, and replaced is false. Otherwise
// it joins the refresh that is under way, or forces a renewal; when that fails, the current token
// stays in use.
//
// The error is a *fault.Error, or that of ctx.
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
	// A refresh that this call joins may have been started for another purpose, and find that the
	// same token will do. Then the next one is forced.
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

// compared returns the current token after a look-up, fetching one when there is none.
func (e *entry) compared(ctx context.Context) (*token.Token, error) {
	e.lookUp(ctx)
	if s := e.snapshot.Load(); s.isValid(e.cache.options.Clock.Now()) {
		return e.serve(s), nil
	}
	return e.wait(ctx)
}

// ForgetFailures lets every key be tried again at once.
func (c *Cache) ForgetFailures(ctx context.Context) error {
	err := c.options.Store.ForgetFailures(ctx)
	c.eachEntry((*entry).forgetFailure)
	return err
}
