package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// maxID is the maximum length of a credential ID.
	maxID = 128
	// maxWatched is the maximum number of credentials of a stream.
	maxWatched = 100
	// gather is the time between the first new credential and the stream that watches it, so that
	// several new credentials join one stream.
	gather = 100 * time.Millisecond
	// idle is the time after which the next stream leaves out a credential that no request uses.
	idle = time.Hour
	// A stream that ended is opened again after firstDelay. The delay doubles up to maxDelay each
	// time that a stream ends before it delivers a state, and is changed at random by up to 20 %.
	firstDelay = 200 * time.Millisecond
	maxDelay   = 30 * time.Second
	// connectTimeout is how long opening a stream waits for a connection.
	connectTimeout = 5 * time.Second
)

var errDisconnected = errors.New("the connection to the broker is closed")

// stream watches some credentials, in a goroutine that opens the stream again whenever it ends.
type stream struct {
	client      *Client
	credentials []*credential // changes only before the goroutine starts, and when it drops idle ones
	replaces    *stream       // a stream that ends when this one has delivered each state
	complete    bool          // the stream works, and has delivered the state of each credential
	stop        context.CancelFunc
}

// `watch` makes a stream watch the credential soon, unless one does already. An ID that is too long
// or not UTF-8 would end the stream of other credentials.
func (c *credential) watch() {
	if c.watched || len(c.id) > maxID || !utf8.ValidString(c.id) {
		return
	}
	c.watched, c.lastUse = true, c.client.now()
	c.client.unwatched = append(c.client.unwatched, c)
	if len(c.client.unwatched) == 1 {
		time.AfterFunc(gather, c.client.openStreams)
	}
}

// openStreams opens streams for the new credentials. A stream that has room for more credentials is
// replaced by one with its credentials and new ones.
func (c *Client) openStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.unwatched) > 0 && !c.closed {
		var credentials []*credential
		i := slices.IndexFunc(c.streams, func(s *stream) bool { return len(s.credentials) < maxWatched })
		if i < 0 {
			i = len(c.streams)
			c.streams = append(c.streams, nil)
		} else {
			credentials = c.streams[i].used(c.now())
		}
		n := min(maxWatched-len(credentials), len(c.unwatched))
		c.streams[i] = c.open(append(credentials, c.unwatched[:n]...), c.streams[i])
		c.unwatched = c.unwatched[n:]
	}
}

// open opens a stream that replaces an older one, if there is one. The older stream continues until
// the new one is complete. If the older stream is not complete itself, it ends at once.
func (c *Client) open(credentials []*credential, older *stream) *stream {
	opened := &stream{client: c, credentials: credentials, replaces: older}
	if older != nil && !older.complete {
		older.stop()
		opened.replaces, older.replaces = older.replaces, nil
	}
	var ctx context.Context
	ctx, opened.stop = context.WithCancel(c.running)
	c.tasks.Go(func() { opened.run(ctx) })
	return opened
}

// used returns the credentials of a stream that are not idle. The others are not watched any more.
func (s *stream) used(now time.Time) (credentials []*credential) {
	for _, credential := range s.credentials {
		if credential.watched = now.Sub(credential.lastUse) < idle; credential.watched {
			credentials = append(credentials, credential)
		}
	}
	return credentials
}

func (s *stream) end() {
	s.stop()
	if s.replaces != nil {
		s.replaces.stop()
	}
}

func (s *stream) run(ctx context.Context) {
	defer s.stop()
	delay := firstDelay
	for s.dropIdle() {
		delivered, err := s.receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errDisconnected) {
			s.abandon()
			return
		}
		if delivered {
			delay = firstDelay
		}
		jitter := 0.8 + 0.4*rand.Float64() //nolint:gosec // not for security
		sleep(ctx, time.Duration(float64(delay)*jitter))
		if !delivered {
			delay = min(2*delay, maxDelay)
		}
	}
}

// `receive` opens the stream and processes its states until it ends. It reports whether the stream
// has delivered a state. The error is errDisconnected if the connection is closed for good.
func (s *stream) receive(ctx context.Context) (delivered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, waiting := &authmaterialv1.WatchAuthDecorationsRequest{}, map[string]*credential{}
	for _, credential := range s.credentials {
		request.CredentialIds = append(request.CredentialIds, credential.id)
		waiting[credential.id] = credential
	}
	watched := map[string]*credential{} // the credentials whose state has been delivered
	defer s.ended(watched)
	s.client.connectNow()
	connecting := time.AfterFunc(connectTimeout, cancel)
	states, err := s.client.broker.WatchAuthDecorations(ctx, request, grpc.WaitForReady(true))
	connecting.Stop()
	if status.Code(err) == codes.Canceled && ctx.Err() == nil {
		return false, errDisconnected
	}
	for err == nil {
		var state *authmaterialv1.WatchAuthDecorationsResponse
		if state, err = states.Recv(); err == nil {
			s.deliver(state, waiting, watched)
		}
	}
	return len(watched) > 0, err
}

// deliver processes a state, and ends the stream that this one replaces once each state has been
// delivered.
func (s *stream) deliver(state *authmaterialv1.WatchAuthDecorationsResponse, waiting, watched map[string]*credential) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	credential := watched[state.GetCredentialId()]
	if credential == nil {
		if credential = waiting[state.GetCredentialId()]; credential == nil {
			return
		}
		delete(waiting, credential.id)
		watched[credential.id] = credential
		credential.live.Add(1)
	}
	credential.deliver(state)
	if len(waiting) == 0 {
		s.complete = true
		if s.replaces != nil {
			s.replaces.stop()
			s.replaces = nil
		}
	}
}

func (s *stream) ended(watched map[string]*credential) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	s.complete = false
	for _, credential := range watched {
		credential.live.Add(-1)
	}
}

// dropIdle drops the credentials that no request has used for a long time, and reports whether
// credentials are left. A stream that was replaced keeps its credentials, because its successor
// watches them too.
func (s *stream) dropIdle() bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	i := slices.Index(s.client.streams, s)
	if i < 0 {
		return true
	}
	if s.credentials = s.used(s.client.now()); len(s.credentials) > 0 {
		return true
	}
	s.client.streams = slices.Delete(s.client.streams, i, i+1)
	s.end()
	return false
}

// abandon ends a stream whose connection is closed. Requests can open new streams.
func (s *stream) abandon() {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if i := slices.Index(s.client.streams, s); i >= 0 {
		s.client.streams = slices.Delete(s.client.streams, i, i+1)
		for _, credential := range s.credentials {
			credential.watched = false
		}
	}
	s.end()
}
