// Package cache holds tokens, and makes one token request however many callers want
// one.
//
// A Cache is the life of a token: single flight, early renewal, backing off, and
// replacing what a provider rejected. A Store below it is where tokens lie: Memory
// for one process. A Cache keeps the tokens that it has seen at hand, so that a warm
// call reads memory alone and asks no Store.
package cache

import (
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

// Bounds on how long anybody waits.
const (
	// flightTimeout bounds one flight: waiting for the lease and one token request.
	flightTimeout = 15 * time.Second
	// marginPatience is how long a caller waits for the successor of a token that is in
	// its safety margin, before it gets that token.
	marginPatience = time.Second
	// maxJoins is how many flights one report waits for.
	maxJoins = 3
)

// Defaults of Options.
const (
	defaultForcedLimit  = 3
	defaultForcedWindow = 10 * time.Minute
)

// Source makes the tokens of one key. Sources with the same key are interchangeable.
type Source interface {
	// TokenKey names the token. A Store that others can read hides it behind an HMAC.
	TokenKey() string
	// RequestToken makes one attempt. Its error has a *fault.Error in its chain, whose
	// RetryDelay is the least that the provider asked for.
	RequestToken(ctx context.Context) (*token.Token, error)
}

// Options configure a Cache. The zero value is usable.
type Options struct {
	// Store is where tokens lie. Default: a Memory.
	Store Store
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// ForcedLimit is how many forced renewals one key may have within ForcedWindow.
	// Default: 3 within 10 minutes.
	ForcedLimit  int
	ForcedWindow time.Duration
	// Random returns numbers from 0 to 1, for jitter. Default: math/rand/v2.
	Random func() float64
	// Logger gets faults of the broker's own. Default: slog.Default.
	Logger *slog.Logger
	// Changed is called when a token came to hand that was not there before. It must not
	// wait, and not call the Cache. Default: nothing is.
	Changed func(key string)
	// Forgotten is called when another replica had every key tried again at once. It must
	// not wait. Default: nothing is.
	Forgotten func()
	// Observe returns the Observer of a source's token. It is called once for each token
	// that the Cache gets to know. Default: nobody observes.
	Observe func(Source) Observer
	// Begin returns the context of a flight, made from one that ends with the Cache. The
	// other is that of the call that starts the flight; an empty one where no call does.
	// Default: the flight has nothing of the call.
	Begin func(flight, call context.Context) context.Context
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Store == nil {
		o.Store = NewMemory(o.Clock)
	}
	if o.ForcedLimit == 0 {
		o.ForcedLimit = defaultForcedLimit
	}
	if o.ForcedWindow == 0 {
		o.ForcedWindow = defaultForcedWindow
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
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
		o.Begin = func(flight, _ context.Context) context.Context { return flight }
	}
	return o
}

// Cache hands out tokens. Close ends it.
type Cache struct {
	options Options
	entries sync.Map // of token key to *entry

	// ctx ends with Close, and with it every flight.
	ctx  context.Context //nolint:containedctx // flights outlive the calls that start them, and end with the Cache
	stop context.CancelFunc

	// epoch grows whenever news of the Store may have been missed. A token that was seen
	// in an earlier one is looked up before it is served again.
	epoch atomic.Uint64
	// changes and outOfDate are the tokens to look up because there was news of them, or
	// may have been.
	changes, outOfDate *backlog

	closing sync.Mutex
	closed  bool
	flights sync.WaitGroup // grows while closing is held and closed is false
}

// New returns an empty Cache, which follows its Store.
func New(options Options) *Cache {
	c := Prepare(options)
	c.Follow()
	return c
}

// Prepare is New, but that the Cache calls Changed and Forgotten only once Follow was called: for
// what needs the Cache itself first.
func Prepare(options Options) *Cache {
	ctx, stop := context.WithCancel(context.Background())
	c := &Cache{options: options.withDefaults(), ctx: ctx, stop: stop}
	c.changes = newBacklog(c, (*entry).lookUpAgain)
	c.outOfDate = newBacklog(c, func(e *entry) { e.catchUp(ctx) })
	return c
}

// Close ends the flights and renewals that are under way, and waits for their end.
// Calls that wait for one fail with fault.ServerStopping.
func (c *Cache) Close() {
	c.closing.Lock()
	c.closed = true
	c.closing.Unlock()
	c.stop()
	c.flights.Wait()
	c.eachEntry((*entry).drop)
}

// takeOff counts a flight that begins, until land is called. It says false when the
// Cache is closed.
func (c *Cache) takeOff() (land func(), ok bool) {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return nil, false
	}
	c.flights.Add(1)
	return c.flights.Done, true
}

// entry returns what the Cache has of the source's token.
func (c *Cache) entry(source Source) *entry {
	key := source.TokenKey()
	if found, ok := c.entries.Load(key); ok {
		return found.(*entry)
	}
	observer := c.options.Observe(source)
	made, _ := c.entries.LoadOrStore(key, &entry{cache: c, key: key, source: source, observer: observer, warm: observer.Warm()})
	return made.(*entry)
}

// Warm is WarmAt the present.
func (c *Cache) Warm(source Source) (*token.Token, bool) {
	return c.WarmAt(source.TokenKey(), c.options.Clock.Now())
}

// WarmAt returns the token of a Source's key when it is at hand and need not be waited for at the time
// now, by the Cache's clock. It makes no trip anywhere.
func (c *Cache) WarmAt(tokenKey string, now time.Time) (*token.Token, bool) {
	found, ok := c.entries.Load(tokenKey)
	if !ok {
		return nil, false
	}
	e := found.(*entry)
	h := e.held.Load()
	if h == nil || h.epoch.Load() != c.epoch.Load() || !now.Before(h.expireTime) {
		return nil, false
	}
	e.warm.Inc()
	if !h.served.Load() || h.due.Load() {
		e.serve(h)
	}
	return h.token, true
}

// Held returns the source's token while the provider accepts it, through its safety
// margin. It makes no trip, and does not count as a use of the token.
func (c *Cache) Held(source Source) (*token.Token, bool) {
	found, ok := c.entries.Load(source.TokenKey())
	if !ok {
		return nil, false
	}
	if h := found.(*entry).valid(); h != nil {
		return h.token, true
	}
	return nil, false
}

// Served returns the tokens at hand that were served since they came and have not
// ended: those that are to be renewed. They come with their sources.
func (c *Cache) Served() iter.Seq2[Source, *token.Token] {
	return func(yield func(Source, *token.Token) bool) {
		c.entries.Range(func(_, value any) bool {
			e := value.(*entry)
			h := e.valid()
			return h == nil || !h.served.Load() || yield(e.source, h.token)
		})
	}
}

// Retain drops what is known of every key but those that keep approves of, and ends
// their renewals.
func (c *Cache) Retain(keep func(key string) bool) {
	if store, ok := c.options.Store.(retainer); ok {
		defer store.Retain(keep)
	}
	c.entries.Range(func(key, value any) bool {
		if !keep(key.(string)) {
			c.entries.Delete(key)
			value.(*entry).drop()
		}
		return true
	})
}

// Token returns the source's current token. Where it is not warm, the call joins the
// flight that fetches it, or starts that; when ctx ends first, the flight goes on for
// the others. While requests fail, a token is returned for as long as it is valid,
// through its safety margin.
//
// The error is a *fault.Error, or that of ctx; any other comes from the Store.
func (c *Cache) Token(ctx context.Context, source Source) (*token.Token, error) {
	if t, ok := c.Warm(source); ok {
		return t, nil
	}
	e := c.entry(source)
	e.catchUp(ctx)
	if h := e.held.Load(); h != nil {
		if t, ok := e.fresh(h); ok {
			return t, nil
		}
	}
	return e.wait(ctx)
}

// Replace returns a token that the provider has not rejected. The function rejected
// reports whether a token is the one that it has. When the current token is another, that
// one is returned, and replaced is false. Otherwise it joins the flight that is under
// way, or forces a renewal; when that fails, the current token goes on being served.
//
// The error is a *fault.Error, or that of ctx.
func (c *Cache) Replace(ctx context.Context, source Source, rejected func(*token.Token) bool) (current *token.Token, replaced bool, err error) {
	e := c.entry(source)
	current, err = e.current(ctx)
	if err != nil {
		return nil, false, err
	}
	if !rejected(current) {
		if e.rejectUnseen(rejected) {
			return current, false, nil
		}
		current = e.lastToken() // it came to hand this moment
	}
	reported := current
	// A flight that this call joins may have been started for something else, and find
	// that the same token will do. Then the next one is forced.
	for range maxJoins {
		current, err = e.join(ctx, e.fly(ctx, flight{accept: not(rejected), forced: true}))
		if err != nil {
			return nil, false, err
		}
		if !rejected(current) {
			e.reject(reported)
			return current, true, nil
		}
	}
	return nil, false, errSameToken
}

func not(rejected func(*token.Token) bool) func(*token.Token) bool {
	return func(t *token.Token) bool { return !rejected(t) }
}

// ForgetFailures lets every key be tried again at once.
func (c *Cache) ForgetFailures(ctx context.Context) error {
	err := c.options.Store.ForgetFailures(ctx)
	c.eachEntry((*entry).forgetFailure)
	return err
}
