package cache_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// An issuer is a provider that records the tokens that it issued.
type issuer struct {
	key      string
	lifetime time.Duration
	ends     bool // a new token ends the previous token

	mu      sync.Mutex
	latency time.Duration
	failure *fault.Error // the error of token requests; nil if they succeed
	issued  map[string]*issue
	newest  *issue // the newest token that a replica received
	last    string // the last token that was issued, even if no replica received it
	// failedAt is when the last token request failed. The time fineFrom is when the issuer began to
	// answer token requests quickly, or zero while the issuer does not do so.
	failedAt time.Time
	failedBy map[int]failedRequest
	fineFrom time.Time
	begin    func(i *issuer, replica int)        // function that is called while mu is locked
	current  func(i *issuer, replica int) string // function that is called while mu is locked
}

// failedRequest is the last token request of a replica, if it failed.
type failedRequest struct {
	at      time.Time
	current string // the replica's current token
}

type issue struct {
	*token.Token
	value   string
	gotAt   time.Time // time at which a replica received the token; zero if none received it
	revoked bool
}

// `at` returns the Source by which one replica requests tokens from the issuer.
func (i *issuer) at(replica int) *issuerSource { return &issuerSource{i, replica} }

type issuerSource struct {
	*issuer
	replica int
}

func (s *issuerSource) TokenKey() string { return s.key }

// RequestToken simulates a token request that takes the time s.latency. The token is issued after
// half of that time.
func (s *issuerSource) RequestToken(ctx context.Context) (*token.Token, error) {
	requestedAt := time.Now()
	s.mu.Lock()
	latency := s.latency
	s.begin(s.issuer, s.replica)
	s.mu.Unlock()
	made, err := (*issue)(nil), error(fault.New(fault.ProviderUnavailable, "no answer in time"))
	if wait(ctx, latency/2) {
		issued, failed := s.issue(requestedAt)
		if wait(ctx, latency/2) {
			made, err = issued, failed
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failedAt = time.Now()
		s.failedBy[s.replica] = failedRequest{s.failedAt, s.current(s.issuer, s.replica)}
		return nil, err
	}
	made.gotAt = time.Now()
	if s.newest == nil || made.RequestedAt.After(s.newest.RequestedAt) {
		s.newest = made
	}
	return made.Token, nil
}

// wait returns false if ctx ends before the given time is over.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (i *issuer) issue(requestedAt time.Time) (*issue, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure != nil {
		return nil, i.failure
	}
	value := fmt.Sprintf("%s-%d", i.key, len(i.issued)+1)
	made := &issue{value: value, Token: &token.Token{
		Value: secret.New(value), RequestedAt: requestedAt, Lifetime: i.lifetime, EndsPrevious: i.ends,
	}}
	i.issued[value], i.last = made, value
	return made, nil
}

func (i *issuer) find(value string) *issue {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issued[value]
}

func (i *issuer) accepts(value string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	made := i.issued[value]
	return !made.revoked && time.Now().Before(made.End()) && (!i.ends || value == i.last)
}

func (i *issuer) revoke() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.newest != nil {
		i.newest.revoked = true
	}
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}
