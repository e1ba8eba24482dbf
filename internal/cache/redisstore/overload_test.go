package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/redistest"
	"github.com/authmaterial/broker/internal/token"
)

type countedSource struct {
	key      string
	requests atomic.Int32
}

func (s *countedSource) TokenKey() string { return s.key }

func (s *countedSource) RequestToken(context.Context) (*token.Token, error) {
	s.requests.Add(1)
	return newToken("token of " + s.key), nil
}

// patientClock is the real clock, except that waits in queues are longer, so that the speed of the
// machine does not matter.
type patientClock struct{ clockwork.Clock }

func (c patientClock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	return c.Clock.AfterFunc(100*d, f)
}

// A replica is asked for 5,000 tokens at once, and has none of them. Redis works, so each token
// must be requested once, and no operation may fail. The test passes if one of five attempts
// succeeds, because the machine may be busy.
func TestManyColdKeys(t *testing.T) { //nolint:paralleltest // the test needs the whole machine
	server := redistest.Start(t)
	for range 5 {
		problem := askForMany(t, server, 5_000)
		if problem == "" {
			return
		}
		t.Log(problem)
	}
	t.Error("none of the attempts succeeded")
}

// askForMany asks a new replica for the given number of tokens at once, and describes the problem,
// if any.
func askForMany(t *testing.T, server *redistest.Server, keys int) (problem string) {
	t.Helper()
	c := newCaller(t, at(server.Addr()), withClock(patientClock{clockwork.NewRealClock()}))
	sources := make([]*countedSource, keys)
	var calls sync.WaitGroup
	for i := range sources {
		s := &countedSource{key: strconv.Itoa(i)}
		sources[i] = s
		runtime.Gosched() // the test does not measure CPU time
		calls.Go(func() {
			if got, err := c.cache.Token(t.Context(), s); err != nil || value(got) != "token of "+s.key {
				t.Errorf("the call for the token of %s returns %q, error %v", s.key, value(got), err)
			}
		})
	}
	calls.Wait()
	repeated := 0
	for _, s := range sources {
		if s.requests.Load() != 1 {
			repeated++
		}
	}
	degraded, failures := c.degraded(), c.count("")-c.count(" ok")-c.count(" timeout")
	if repeated > 0 || degraded != nil || failures > 0 {
		return fmt.Sprintf("%d tokens were not requested once, Degraded was called with %v, the operations: %v", repeated, degraded, c.counts())
	}
	return ""
}

type impatientClock struct{ clockwork.Clock }

func (c impatientClock) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	return c.Clock.AfterFunc(d/100, f)
}

// A replica is asked for more tokens than a slow Redis can store in time. All calls must be
// answered, with one token request for each token. After the calls, all tokens must be in Redis.
func TestOverload(t *testing.T) {
	t.Parallel()
	const keys = 600
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	c := newCaller(t, at(proxy.Addr()), withClock(impatientClock{clockwork.NewRealClock()}))
	proxy.Delay(20 * time.Millisecond)
	var calls sync.WaitGroup
	for i := range keys {
		s := &countedSource{key: strconv.Itoa(i)}
		calls.Go(func() {
			if got, err := c.cache.Token(t.Context(), s); err != nil || value(got) != "token of "+s.key || s.requests.Load() != 1 {
				t.Errorf("the call for the token of %s returns %q, error %v, after %d token requests", s.key, value(got), err, s.requests.Load())
			}
		})
	}
	calls.Wait()
	if c.count(" overload") == 0 {
		t.Errorf("no operation failed because of a full queue; the counted results are %v", c.counts())
	}
	proxy.Pass()
	eventually(t, "Redis has every token", func() bool { return len(keysOf(t, server.Client(), "token")) == keys })
}

// A cancelled call does not wait in the queue.
func TestGivingUpInTheQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.Proxy(t, server.Addr())
	r := start(t, at(proxy.Addr()), fleetkeys.RandomRing(), withClock(patientClock{clockwork.NewRealClock()}))
	proxy.Delay(20 * time.Millisecond)
	var others sync.WaitGroup
	for i := range 200 * runtime.GOMAXPROCS(0) {
		others.Go(func() { _, _ = r.Load(t.Context(), strconv.Itoa(i)) })
	}
	eventually(t, "some were answered", func() bool { return r.count("look ok") > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Load(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load: %v", err)
	}
	if r.count("look gave_up") != 1 || r.count("look ok") > 100*runtime.GOMAXPROCS(0) {
		t.Errorf("the cancelled call did not leave the queue; the counted results are %v", r.counts())
	}
	others.Wait()
}
