package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// Errors are remembered for at least minRemembered and at most maxRemembered.
	minRemembered = time.Second
	maxRemembered = 30 * time.Second
	// ignoreReplaced is how long a version that was replaced after a rejection is ignored: a
	// replica that does not know its successor yet could still send it.
	ignoreReplaced = time.Minute
)

// credential is what a Client knows about one credential ID.
type credential struct {
	client *Client
	id     string

	copy atomic.Pointer[prepared] // the latest decoration, or nil
	live atomic.Int32             // the number of working streams that have delivered the state

	// The client's mutex guards the fields below.
	call        *call
	failure     *Error
	failedUntil time.Time // the failure is remembered until this time
	replaced    map[string]time.Time
	reports     map[string]*report
	watched     bool // a stream watches the credential, or will be opened for it
	lastUse     time.Time
}

// call is a call of GetAuthDecoration for which requests wait. The other fields are set before done
// is closed.
type call struct {
	done   chan struct{}
	answer *prepared
	err    error
}

func (c *Client) credential(id string) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.credentials[id]
	if found == nil {
		found = &credential{client: c, id: id, replaced: map[string]time.Time{}, reports: map[string]*report{}}
		c.credentials[id] = found
	}
	return found
}

// get returns the decoration for a request. If the copy cannot be used, get waits for a call to the
// broker.
func (c *credential) get(ctx context.Context, now time.Time) (*prepared, error) {
	p := c.copy.Load()
	if p == nil || p.expired(now) {
		return c.wait(ctx)
	}
	if c.live.Load() == 0 {
		c.withoutStream(ctx, now, p)
	}
	return p, nil
}

func (c *credential) wait(ctx context.Context) (*prepared, error) {
	waiting, p, err := c.join(ctx)
	if waiting == nil {
		return p, err
	}
	select {
	case <-waiting.done:
		return waiting.answer, waiting.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns the current call, or a new one. If no call is needed, join returns the copy or the
// error for the request instead.
func (c *credential) join(ctx context.Context) (*call, *prepared, error) {
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if c.client.closed {
		return nil, nil, c.closedError()
	}
	c.watch()
	now := c.client.now()
	if p := c.copy.Load(); p != nil && !p.expired(now) {
		return nil, p, nil
	}
	if c.failure != nil && now.Before(c.failedUntil) {
		return nil, nil, c.failure
	}
	if c.call == nil {
		c.begin(ctx)
	}
	return c.call, nil, nil
}

// withoutStream starts a call in the background if the broker has renewed the material, and no
// stream has delivered it.
func (c *credential) withoutStream(ctx context.Context, now time.Time, p *prepared) {
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if c.client.closed {
		return
	}
	c.watch()
	refresh := p.decoration.GetRefreshTime()
	if refresh == nil || now.Before(refresh.AsTime()) || now.Before(c.failedUntil) || c.call != nil {
		return
	}
	c.begin(ctx)
}

// begin starts a call of GetAuthDecoration, which continues if the context ends.
func (c *credential) begin(ctx context.Context) {
	started := &call{done: make(chan struct{})}
	c.call = started
	c.client.tasks.Go(func() {
		decoration, failed := c.client.getDecoration(ctx, c.id)
		c.client.mu.Lock()
		defer c.client.mu.Unlock()
		switch {
		case c.call != started: // a stream has delivered a decoration during the call
		case failed != nil:
			c.fail(failed)
			c.end(nil, failed)
		default:
			c.end(c.install(decoration), nil)
		}
	})
}

// end lets the requests continue that wait for the current call.
func (c *credential) end(answer *prepared, err error) {
	c.call.answer, c.call.err = answer, err
	close(c.call.done)
	c.call = nil
}

// install makes a decoration the copy, unless it has the version of a decoration that was rejected
// and replaced.
func (c *credential) install(p *prepared) *prepared {
	if !c.client.closed && !c.client.now().Before(c.replaced[p.version()]) {
		c.copy.Store(p)
		c.failure, c.failedUntil = nil, time.Time{}
	}
	return p
}

// deliver processes a state from a stream.
func (c *credential) deliver(state *authmaterialv1.WatchAuthDecorationsResponse) {
	if failed := state.GetError(); failed != nil {
		c.fail(stateError(c.id, failed))
		return
	}
	p, err := prepare(state.GetAuthDecoration())
	if err != nil {
		c.fail(unusable(c.id, err))
		return
	}
	if c.install(p); c.call != nil && c.copy.Load() == p {
		c.end(p, nil)
	}
}

// fail remembers an error, and removes the copy if the error means that it must not be used.
func (c *credential) fail(failed *Error) {
	switch failed.Reason {
	case "CREDENTIAL_NOT_FOUND", "ACCESS_DENIED", "CREDENTIAL_REJECTED":
		c.copy.Store(nil)
	}
	c.failure = failed
	c.failedUntil = c.client.now().Add(min(max(failed.RetryDelay, minRemembered), maxRemembered))
}

func (c *credential) closedError() *Error {
	return &Error{Reason: ReasonBrokerUnreachable, CredentialID: c.id, cause: errClosed}
}

// unusable returns the Error for an answer that the client cannot use.
func unusable(credentialID string, cause error) *Error {
	return &Error{Reason: "INTERNAL", CredentialID: credentialID, cause: cause}
}
