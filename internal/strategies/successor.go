package strategies

import (
	"context"
	"errors"
	"sync"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// successorToStore is a refresh token that the provider issued, and that is not stored yet.
type successorToStore struct {
	chain  RefreshChain
	lease  RefreshLease
	value  secret.Text
	issued *token.Token // the token that was issued with the refresh token, or nil
	key    string       // the TokenKey of the token
}

// successors are the refresh tokens that could not be stored when they were issued, because the store
// failed. They are lost when the process ends.
type successors struct {
	mu  sync.Mutex
	all map[string]*successorToStore
}

func keyOf(chain RefreshChain) string {
	return string(secret.Digest(nil, chain.CredentialID, chain.First.Reveal(), chain.Recipient))
}

func (s *successors) get(chain RefreshChain) *successorToStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[keyOf(chain)]
}

func (s *successors) add(u *successorToStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*successorToStore{}
	}
	s.all[keyOf(u.chain)] = u
}

func (s *successors) remove(u *successorToStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[keyOf(u.chain)] == u {
		delete(s.all, keyOf(u.chain))
	}
}

func (s *successors) list() (list []*successorToStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.all {
		list = append(list, u)
	}
	return list
}

// storeSuccessor tries for storePatience to store a refresh token. If the store fails for so long, it
// keeps the refresh token for later attempts.
func (c *TokenClient) storeSuccessor(ctx context.Context, u *successorToStore) *fault.Error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	c.unstored.add(u) // a panic must not lose it
	waiting := clock.ForWaiting(c.options.Clock)
	for {
		err := u.lease.Replace(ctx, u.value)
		switch {
		case err == nil:
			c.unstored.remove(u)
			return nil
		case errors.Is(err, ErrSuperseded):
			c.unstored.remove(u)
			return errReplaced
		}
		select {
		case <-waiting.After(storeInterval):
		case <-ctx.Done():
			return fault.From(err)
		}
	}
}

// StoreRefreshTokens tries to store the refresh tokens that could not be stored when the provider issued
// them, and returns the IDs of the credentials whose refresh tokens could still not be stored. Call
// StoreRefreshTokens regularly, and StoreLastRefreshTokens before the process ends.
func (c *TokenClient) StoreRefreshTokens(ctx context.Context) (failed []string) {
	for _, u := range c.unstored.list() {
		limited, cancel := context.WithTimeout(ctx, storePatience)
		err := u.lease.Replace(limited, u.value)
		cancel()
		if err != nil && !errors.Is(err, ErrSuperseded) {
			failed = append(failed, u.chain.CredentialID)
			continue
		}
		c.unstored.remove(u)
	}
	return failed
}

// StoreLastRefreshTokens is like StoreRefreshTokens, but tries again until ctx ends.
func (c *TokenClient) StoreLastRefreshTokens(ctx context.Context) (failed []string) {
	waiting := clock.ForWaiting(c.options.Clock)
	for {
		if failed = c.StoreRefreshTokens(ctx); len(failed) == 0 {
			return nil
		}
		select {
		case <-waiting.After(storeInterval):
		case <-ctx.Done():
			return failed
		}
	}
}
