package authentication

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// fetchPause is the shortest time between two requests for keys that are caused by tokens with
	// unknown keys. A failed request is repeated after fetchPause. After each further failure, the
	// time until the next request doubles, up to maxFetchPause.
	fetchPause    = 10 * time.Second
	maxFetchPause = time.Minute
	// maxStale is how long the last fetched keys stay in use while requests for keys fail.
	maxStale = 24 * time.Hour
	// Keys are fetched again when they have a certain age, which is at least minMaxAge. The default
	// of this age is defaultMaxAge.
	minMaxAge     = time.Minute
	defaultMaxAge = 5 * time.Minute
)

var errUnfetched = fault.New(fault.AuthenticationUnavailable, "the keys of the token's issuer cannot be fetched just now")

// ErrKeyRefreshThrottled is the error for a token whose key is unknown and may be new, if it is too
// early to fetch the issuer's keys again.
var ErrKeyRefreshThrottled = errors.New("the issuer's keys were fetched a moment ago")

// errThrottled is the error that the caller receives in place of ErrKeyRefreshThrottled.
var errThrottled = fault.New(fault.AuthenticationUnavailable, "the bearer token is signed with an unknown key, and the issuer's keys were fetched a moment ago: try again later")

// KeyOptions configure a KeyFetcher. All fields except MaxAge are required.
type KeyOptions struct {
	Clock clockwork.Clock
	// Logger receives a warning when keys cannot be fetched, and when some fetched keys are not
	// used.
	Logger *slog.Logger
	// Changed is called when the keys of an issuer have changed, so that a token that was accepted
	// before may be refused. The function must not block.
	Changed func()
	// MaxAge is how long fetched keys are used before they are fetched again. The default of
	// MaxAge is 5 minutes. The headers of an answer can shorten this time to 1 minute.
	MaxAge time.Duration
}

// KeyFetcher keeps the keys of issuers with a URL up to date until Close is called.
type KeyFetcher struct {
	options KeyOptions
	mu      sync.Mutex
	remote  []*remoteKeys // the keys of the issuers in use, and of the issuers that Prepare returned
}

// NewKeyFetcher returns a KeyFetcher that fetches nothing yet.
func NewKeyFetcher(options KeyOptions) *KeyFetcher {
	options.MaxAge = cmp.Or(options.MaxAge, defaultMaxAge)
	return &KeyFetcher{options: options}
}

// Prepare returns an authenticator for several issuers, and starts to fetch their keys. Issuers
// with the same URL, RootCAs and AllowPrivate share their keys. Keys that were fetched for earlier
// issuers with the same values are not fetched again. After Prepare, call Use with the returned
// Issuers or with the previous ones.
func (f *KeyFetcher) Prepare(issuers []Issuer) *Issuers {
	made := &Issuers{clock: f.options.Clock, byClaim: map[string][]*Issuer{}, verified: newCache[tokenDigest, verifiedToken]()}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, issuer := range issuers {
		if issuer.Keys == nil {
			issuer.remote = f.fetch(issuer)
			made.fetching = append(made.fetching, issuer.remote)
		}
		made.byClaim[issuer.Issuer] = append(made.byClaim[issuer.Issuer], &issuer)
	}
	return made
}

// fetch returns the keys at the URL of an issuer. The lock mu must be held.
func (f *KeyFetcher) fetch(issuer Issuer) *remoteKeys {
	for _, known := range f.remote {
		other := known.issuer
		if other.URL == issuer.URL && other.AllowPrivate == issuer.AllowPrivate && other.RootCAs.Equal(issuer.RootCAs) {
			return known
		}
	}
	made := newRemoteKeys(issuer, f.options)
	f.remote = append(f.remote, made)
	return made
}

// Use ends the fetching of all keys that none of the given issuers needs.
func (f *KeyFetcher) Use(issuers *Issuers) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remote = slices.DeleteFunc(f.remote, func(remote *remoteKeys) bool {
		needed := slices.Contains(issuers.fetching, remote)
		if !needed {
			remote.close()
		}
		return !needed
	})
}

// Close ends the fetching of all keys.
func (f *KeyFetcher) Close() { f.Use(&Issuers{}) }

// remoteKeys are the keys at a URL. The keys are fetched again when they reach the age that the
// headers of the last answer allow, and when a token is signed with a missing key. At most one
// request runs at a time, and all tokens with missing keys wait for it.
type remoteKeys struct {
	KeyOptions
	issuer    Issuer            // the first issuer with this URL
	transport http.RoundTripper // a transport that applies the rules for token requests, such as which addresses are allowed
	context   context.Context   //nolint:containedctx // the context of all requests, which the method close cancels
	cancel    context.CancelFunc

	fetched atomic.Pointer[fetchedKeys] // the last fetched keys; nil if keys were never fetched
	failed  bool                        // whether the last request failed; only the running request uses this field
	retryIn time.Duration               // time until a failed request is repeated; only the running request uses this field

	mu       sync.Mutex
	last     *keyRequest // the running request, or else the last completed one
	underWay bool
	asked    time.Time       // the last time that a token caused a request for keys
	next     clockwork.Timer // the timer that starts the next scheduled request
	// For each token with a missing key, the map `waiting` contains the number of the last request
	// that had been started when the token was first seen.
	waiting *lru.Cache[tokenDigest, uint64]
}

type fetchedKeys struct {
	keys   *Keys
	digest [sha256.Size]byte // the SHA-256 of the answer
	at     time.Time         // the time at which the keys were requested
}

type keyRequest struct {
	number uint64
	done   chan struct{} // a channel that is closed when the request has ended
	err    error         // the error of the request, which is set before the channel is closed
}

func newRemoteKeys(issuer Issuer, options KeyOptions) *remoteKeys {
	r := &remoteKeys{
		KeyOptions: options,
		issuer:     issuer,
		transport:  egress.NewTransport(egress.Options{RootCAs: issuer.RootCAs}),
		last:       &keyRequest{},
		retryIn:    fetchPause,
		asked:      options.Clock.Now(), // so tokens start no request within fetchPause of the first request
		waiting:    newCache[tokenDigest, uint64](),
	}
	r.context, r.cancel = context.WithCancel(context.Background())
	r.next = clock.ForWaiting(r.Clock).AfterFunc(options.MaxAge, func() { r.request(false) })
	r.request(false)
	return r
}

func (r *remoteKeys) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel()
	r.next.Stop()
}

// keys returns the current keys, or nil if keys were never fetched, or are older than maxStale.
func (r *remoteKeys) keys() *Keys {
	fetched := r.fetched.Load()
	if fetched == nil || r.Clock.Since(fetched.at) > maxStale {
		return nil
	}
	return fetched.keys
}

// refresh fetches the keys for a token with a missing key. If refresh returns no error, the current
// keys come from a request that was started after the token was first seen: if the token's key is
// still missing, the key does not exist. The error is errUnfetched, the error of the context, or an
// error that wraps both errThrottled and ErrKeyRefreshThrottled.
func (r *remoteKeys) refresh(ctx context.Context, token tokenDigest) error {
	r.mu.Lock()
	before := r.last.number
	r.mu.Unlock()
	if first, known, _ := r.waiting.PeekOrAdd(token, before); known {
		before = first
	}
	request, pause := r.request(true)
	select {
	case <-request.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case request.err != nil:
		return errUnfetched.WithRetryDelay(max(pause, time.Second))
	case request.number <= before:
		return fmt.Errorf("%w (%w)", errThrottled.WithRetryDelay(max(pause, time.Second)), ErrKeyRefreshThrottled)
	}
	return nil
}

// request starts a request for keys, unless one is running. The parameter forToken is true if the
// reason is a token with a missing key: then fetchPause must have passed since the previous request
// for such a token. The result `last` is the running request, or else the last one. The result
// `pause` is the time until the next request for a token is possible.
func (r *remoteKeys) request(forToken bool) (last *keyRequest, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock.Now()
	throttled := forToken && now.Sub(r.asked) < fetchPause
	if !r.underWay && !throttled && r.context.Err() == nil {
		if forToken {
			r.asked = now
		}
		r.last = &keyRequest{number: r.last.number + 1, done: make(chan struct{})}
		r.underWay = true
		go r.run(r.last, now)
	}
	return r.last, max(0, fetchPause-now.Sub(r.asked))
}

func (r *remoteKeys) run(request *keyRequest, now time.Time) {
	wait, err := r.fetch(now)
	if err != nil {
		wait = r.retryIn
		r.retryIn = min(2*wait, maxFetchPause)
	} else {
		r.retryIn = fetchPause
	}
	r.report(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	request.err, r.underWay = err, false
	close(request.done)
	if r.context.Err() == nil {
		r.next.Reset(min(wait, r.MaxAge))
	}
}

// fetch replaces the current keys by the keys at the URL. fetch returns how long the keys may be
// used according to the headers of the answer. If the parser panics at a hostile answer, fetch
// returns an error.
func (r *remoteKeys) fetch(now time.Time) (wait time.Duration, err error) {
	defer func() {
		if recover() != nil {
			err = errNoKeySet
		}
	}()
	body, header, err := r.get()
	if err != nil {
		return 0, err
	}
	return max(maxAge(header), minMaxAge), r.take(body, now)
}

// take replaces the current keys by the keys in an answer. If the answer is not usable, the
// previous keys stay in use.
func (r *remoteKeys) take(answer []byte, begun time.Time) error {
	digest := sha256.Sum256(answer)
	if before := r.fetched.Load(); before != nil && before.digest == digest {
		r.fetched.Store(&fetchedKeys{before.keys, digest, begun})
		return nil
	}
	keys, _, err := parseKeys(answer)
	if err != nil {
		return err
	}
	r.fetched.Store(&fetchedKeys{keys, digest, begun})
	if places, count := keys.Ignored(); count > 0 {
		r.Logger.Warn("some keys of a token issuer are ignored: they are malformed, private, symmetric, or of a type, size or algorithm that is not supported; the other keys are used",
			"issuer", r.issuer.Name, "count", count, "keys", places)
	}
	r.Changed()
	return nil
}

// report logs the first failure to fetch the keys, and the first success after a failure.
func (r *remoteKeys) report(err error) {
	failed := r.failed
	r.failed = err != nil
	switch {
	case r.context.Err() != nil: // the method close cancelled the request
	case err != nil && !failed:
		r.Logger.Warn("the keys of a token issuer cannot be fetched", "issuer", r.issuer.Name, "cause", fetchFailure(err))
	case err == nil && failed:
		r.Logger.Info("the keys of a token issuer can be fetched again", "issuer", r.issuer.Name)
	}
}
