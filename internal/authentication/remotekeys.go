package authentication

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jonboulle/clockwork"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/httprc/v3/errsink"
	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// fetchTimeout bounds one request for keys.
	fetchTimeout = 5 * time.Second
	// fetchPause is how long after a request that a call started the next one may start.
	fetchPause = 10 * time.Second
	// maxKeySet is the largest key set, in bytes.
	maxKeySet = 1 << 20
	// maxAwaited is how many tokens are remembered whose keys were not sought yet. One that is
	// forgotten is told once more to try again.
	maxAwaited = 4096
	// maxKeyAge is how long keys count that cannot be fetched again.
	maxKeyAge = 24 * time.Hour
)

// errUnfetched is the answer to a token whose key cannot be asked for.
var errUnfetched = fault.New(fault.AuthenticationUnavailable, "the keys of the token's issuer cannot be fetched just now")

// ErrUnsought says that a token's key may be a new one: it is not at hand, the issuer's keys
// were asked for before the token came, and not long enough ago to ask for them again.
var ErrUnsought = errors.New("the key of the token was not sought yet")

// errNotYet is what a caller is told then.
var errNotYet = fault.New(fault.AuthenticationUnavailable, "the bearer token is signed by a key that was not there a moment ago: it is sought when the call is tried again")

// remoteKeys are the keys at a URL. They are fetched in the background, as often as the
// answer's own headers say, and when a token has a key ID that is not among them.
type remoteKeys struct {
	fetchOptions
	at      keyServer
	control httprc.Controller
	context context.Context //nolint:containedctx // it ends with close, and the requests with it
	close   context.CancelFunc

	keys    atomic.Pointer[Keys]
	fetched atomic.Pointer[time.Time] // when keys were seen last
	digest  [sha256.Size]byte         // of the answer with keys; the one worker has it

	begun   atomic.Uint64                         // how many requests were begun
	seen    atomic.Uint64                         // the number of the last of them that brought keys
	awaited *lru.Cache[[sha256.Size]byte, uint64] // tokens, with begun when they came first

	flights singleflight.Group
	// What a flight has of the one before.
	tried  time.Time
	failed bool
}

// fetchOptions are how remoteKeys fetch.
type fetchOptions struct {
	clock clockwork.Clock
	// most is how long keys are used before they are fetched again.
	most time.Duration
	// observe is told of each request's outcome.
	observe func(error)
	// changed is called when the keys are others than before.
	changed func()
	// ignored is called with what Keys.Ignored returns, if there are such keys, once for each
	// answer that differs from the one before.
	ignored func(places []string, count int)
}

// leastKeyAge is how long keys are used before they are fetched again at the least,
// whatever the answer's headers say.
const leastKeyAge = time.Minute

// newRemoteKeys starts to fetch the keys of a server.
func newRemoteKeys(at keyServer, options fetchOptions) (*remoteKeys, error) {
	if err := CheckKeyURL(at.url); err != nil {
		return nil, fmt.Errorf("the URL of the keys %w", err)
	}
	r := &remoteKeys{fetchOptions: options, at: at}
	var err error
	if r.awaited, err = lru.New[[sha256.Size]byte, uint64](maxAwaited); err != nil {
		return nil, err
	}
	client := at.client()
	client.Transport = numbered{client.Transport, &r.begun}
	resource, err := httprc.NewResource(at.url, httprc.TransformFunc[*Keys](r.parse),
		httprc.WithHTTPClient(client),
		httprc.WithMinInterval(min(leastKeyAge, options.most)), httprc.WithMaxInterval(options.most))
	if err != nil {
		return nil, errors.New("the URL of the keys is none")
	}
	// The first request is a flight, so that calls wait for it and not for a second one.
	resource.SetNext(time.Now().Add(options.most))
	r.context, r.close = context.WithCancel(context.Background())
	r.control, err = httprc.NewClient(httprc.WithWorkers(1), httprc.WithErrorSink(errsink.NewFunc(func(_ context.Context, err error) {
		r.report(err)
	}))).Start(r.context)
	if err == nil {
		err = r.control.Add(r.context, resource, httprc.WithWaitReady(false))
	}
	if err != nil {
		r.close()
		return nil, errors.New("the keys cannot be kept up to date")
	}
	r.fly()
	if counting, ok := r.clock.(*clock.Clock); ok {
		r.fetchAfterSleep(counting, options.most)
	}
	return r, nil
}

// overdue is how much longer than they should be keys are used before fetchAfterSleep has them
// fetched.
const overdue = 2 * time.Second

// fetchAfterSleep fetches the keys when they are overdue. httprc sees to that otherwise, but its
// timers stand still while the machine sleeps. A fetch that fails is repeated after fetchPause:
// the machine may wake up before its network does.
func (r *remoteKeys) fetchAfterSleep(counting *clock.Clock, wait time.Duration) {
	counting.AfterFunc(wait+overdue, func() {
		if r.context.Err() != nil {
			return
		}
		wait := r.untilDue(counting)
		if wait <= 0 {
			<-r.fly() // fetchTimeout bounds it
			if wait = r.untilDue(counting); wait <= 0 {
				wait = fetchPause
			}
		}
		r.fetchAfterSleep(counting, wait)
	})
}

// untilDue returns how long the keys are used before they are fetched again. It is not positive
// when they are due, or were never fetched.
func (r *remoteKeys) untilDue(counting *clock.Clock) time.Duration {
	fetched := r.fetched.Load()
	if fetched == nil {
		return 0
	}
	return r.most - counting.Since(*fetched)
}

// parse reads the keys of an answer. An answer without a list of keys is not the issuer's. After
// an error the previous keys stay in use.
func (r *remoteKeys) parse(_ context.Context, answer *http.Response) (*Keys, error) {
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeySet || !listsKeys(data) {
		return nil, errNoKeySet
	}
	now := r.clock.Now()
	if digest := sha256.Sum256(data); digest != r.digest {
		keys, _, err := parseKeys(data)
		if err != nil {
			return nil, err
		}
		r.digest = digest
		r.keys.Store(keys)
		defer r.changed()
		if places, count := keys.Ignored(); count > 0 {
			r.ignored(places, count)
		}
	}
	r.fetched.Store(&now)
	r.seen.Store(r.begun.Load()) // the one worker has no other request meanwhile
	r.report(nil)
	return r.keys.Load(), nil
}

// listsKeys reports whether data is an object with a list of keys, empty or not (RFC 7517,
// section 5). The parser takes a single key too, and objects that look like one.
func listsKeys(data []byte) bool {
	var set map[string]json.RawMessage
	return json.Unmarshal(bytes.TrimPrefix(data, byteOrderMark), &set) == nil && bytes.HasPrefix(set["keys"], []byte("["))
}

// report tells of a request's outcome, but for those that close ended.
func (r *remoteKeys) report(err error) {
	if r.context.Err() == nil {
		r.observe(err)
	}
}

// held returns the keys that are at hand. Nil: there are none, or none that still count.
func (r *remoteKeys) held() *Keys {
	if fetched := r.fetched.Load(); fetched == nil || r.clock.Since(*fetched) > maxKeyAge {
		return nil
	}
	return r.keys.Load()
}

// refresh fetches the keys for a token, unless that was done a moment ago. Callers that come
// together share a request. After an error, held may lack a key that there is: after
// ErrUnsought, which a token has until a request that began after it came first has brought keys.
func (r *remoteKeys) refresh(ctx context.Context, token [sha256.Size]byte) error {
	before := r.begun.Load()
	if first, known, _ := r.awaited.PeekOrAdd(token, before); known {
		before = first
	}
	select {
	case flown := <-r.fly():
		if pause, ok := flown.Val.(time.Duration); ok && flown.Err == nil && r.seen.Load() <= before {
			return fmt.Errorf("%w (%w)", errNotYet.WithRetryDelay(pause), ErrUnsought)
		}
		return flown.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly makes one request, or joins the one that is under way, which may have begun before its
// callers came. It makes none if there was one a moment ago. The value is how long there is no
// other, a time.Duration.
func (r *remoteKeys) fly() <-chan singleflight.Result {
	return r.flights.DoChan("", func() (any, error) {
		if pause := fetchPause - r.clock.Since(r.tried); pause > 0 {
			if r.failed {
				return nil, errUnfetched.WithRetryDelay(pause)
			}
			return pause, nil
		}
		r.tried = r.clock.Now()
		ctx, cancel := context.WithTimeout(r.context, fetchTimeout)
		defer cancel()
		err := r.control.Refresh(ctx, r.at.url)
		if r.failed = err != nil; r.failed {
			r.report(err)
			return nil, errUnfetched.WithRetryDelay(fetchPause)
		}
		return fetchPause - r.clock.Since(r.tried), nil
	})
}

// numbered counts requests as they begin.
type numbered struct {
	http.RoundTripper
	begun *atomic.Uint64
}

// RoundTrip implements http.RoundTripper.
func (n numbered) RoundTrip(request *http.Request) (*http.Response, error) {
	n.begun.Add(1)
	return n.RoundTripper.RoundTrip(request)
}
