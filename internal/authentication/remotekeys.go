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
	// fetchPause is the shortest time between two requests for keys that tokens cause. It is also the
	// time until a failed request is repeated, which doubles up to maxFetchPause.
	fetchPause    = 10 * time.Second
	maxFetchPause = time.Minute
	// maxStale is how long keys are used while they cannot be fetched again.
	maxStale = 24 * time.Hour
	// minMaxAge and defaultMaxAge bound how long keys are used before they are fetched again.
	minMaxAge     = time.Minute
	defaultMaxAge = 5 * time.Minute
)

// errUnfetched is the answer to a call whose token has a missing key, while keys cannot be fetched.
var errUnfetched = fault.New(fault.AuthenticationUnavailable, "the keys of the token's issuer cannot be fetched just now")

// ErrKeyRefreshThrottled is the error for a token whose key is missing and may be a new one: the
// issuer's keys were fetched before the token came, and too recently to fetch them again.
var ErrKeyRefreshThrottled = errors.New("the issuer's keys were fetched a moment ago")

// errThrottled is the answer to a call with such a token.
var errThrottled = fault.New(fault.AuthenticationUnavailable, "the bearer token is signed with an unknown key, and the issuer's keys were fetched a moment ago: try again, and they are fetched again")

// KeyOptions configure a KeyFetcher. All but MaxAge are required.
type KeyOptions struct {
	Clock clockwork.Clock
	// Logger gets a warning when keys cannot be fetched, and when some are not used.
	Logger *slog.Logger
	// Changed is called when the keys of an issuer have changed: a token that was accepted may
	// no longer be. It must not block.
	Changed func()
	// MaxAge is how long fetched keys are used before they are fetched again. Default: 5
	// minutes. The headers of an answer can make it less, down to a minute.
	MaxAge time.Duration
}

// KeyFetcher keeps the keys of issuers that have a URL up to date. Close ends it.
type KeyFetcher struct {
	options KeyOptions
	mu      sync.Mutex
	remote  []*remoteKeys // of the Issuers in use, and of those that are prepared
}

// NewKeyFetcher returns a KeyFetcher that fetches nothing yet.
func NewKeyFetcher(options KeyOptions) *KeyFetcher {
	options.MaxAge = cmp.Or(options.MaxAge, defaultMaxAge)
	return &KeyFetcher{options: options}
}

// Prepare returns an authenticator for these issuers, and starts to fetch their keys. Issuers with the
// same URL, RootCAs and AllowPrivate share their keys, and keep those that are in use already. Call Use
// afterwards, with the returned Issuers or with the previous ones.
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

// fetch returns the keys at an issuer's URL. The caller holds mu.
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

// Use stops the fetching of keys that these issuers do not need.
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

// Close stops all fetching.
func (f *KeyFetcher) Close() { f.Use(&Issuers{}) }

// remoteKeys are the keys at a URL. They are fetched again when they reach the age that the headers
// of their answer allow, and when a token is signed with a missing key. There is one request at a
// time: all tokens with missing keys wait for it.
type remoteKeys struct {
	KeyOptions
	issuer    Issuer            // the first one with this URL
	transport http.RoundTripper // by the rules of token requests
	context   context.Context   //nolint:containedctx // it ends with close, and the requests with it
	cancel    context.CancelFunc

	fetched atomic.Pointer[fetchedKeys] // nil: none yet
	failed  bool                        // whether the last request failed; only the current one uses this
	retryIn time.Duration               // time until a failed request is repeated, likewise

	mu       sync.Mutex
	last     *keyRequest // the current request, or else the last one
	underWay bool
	asked    time.Time       // when a token last caused a request
	next     clockwork.Timer // starts the next request
	// waiting are tokens with missing keys. The value is the number of the last request that was
	// started before the token was first seen.
	waiting *lru.Cache[tokenDigest, uint64]
}

// fetchedKeys are the keys of the last usable answer.
type fetchedKeys struct {
	keys   *Keys
	digest [sha256.Size]byte // of the answer
	at     time.Time         // when they were requested
}

// keyRequest is one request for keys.
type keyRequest struct {
	number uint64
	done   chan struct{} // closed when the request has ended
	err    error         // set before done is closed
}

func newRemoteKeys(issuer Issuer, options KeyOptions) *remoteKeys {
	r := &remoteKeys{
		KeyOptions: options,
		issuer:     issuer,
		transport:  egress.NewTransport(egress.Options{RootCAs: issuer.RootCAs}),
		last:       &keyRequest{},
		retryIn:    fetchPause,
		asked:      options.Clock.Now(), // the first request serves the first tokens
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

// keys returns the current keys. Nil: there are none, or they are older than maxStale.
func (r *remoteKeys) keys() *Keys {
	fetched := r.fetched.Load()
	if fetched == nil || r.Clock.Since(fetched.at) > maxStale {
		return nil
	}
	return fetched.keys
}

// refresh fetches the keys for a token with a missing key. On success, the keys are from a request
// that was started after the token was first seen: if the key is still missing, it does not exist.
// The error is ErrKeyRefreshThrottled with errThrottled, errUnfetched, or that of ctx.
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

// request starts a request, unless one is under way, or a token causes it and another has caused one
// less than fetchPause ago. It returns the last request, and the time until a token can cause the
// next one.
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

// run makes a request that begins now, and schedules the next one.
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

// fetch requests the keys, and uses those of the answer. It returns for how long, by the headers of
// the answer. A parser that panics at a hostile answer does not end the process.
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

// take uses the keys of an answer. After an error the previous keys stay in use.
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
		r.Logger.Warn("some keys of a token issuer are ignored: they are malformed, private, symmetric, or of a type, size or algorithm that is not supported; the others are used",
			"issuer", r.issuer.Name, "count", count, "keys", places)
	}
	r.Changed()
	return nil
}

// report logs when keys can no longer be fetched, and when they can again.
func (r *remoteKeys) report(err error) {
	failed := r.failed
	r.failed = err != nil
	switch {
	case r.context.Err() != nil: // close ended the request
	case err != nil && !failed:
		r.Logger.Warn("the keys of a token issuer cannot be fetched", "issuer", r.issuer.Name, "cause", fetchFailure(err))
	case err == nil && failed:
		r.Logger.Info("the keys of a token issuer can be fetched again", "issuer", r.issuer.Name)
	}
}
