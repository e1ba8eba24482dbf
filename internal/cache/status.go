package cache

import (
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// Status is what a Cache knows about the token of one token key. The times in a Status are those of
// the Cache's clock.
type Status struct {
	// Token is the current token, which may have ended, or nil if there is none.
	Token *token.Token
	// Failure is the failure of the latest token request, or nil if that request brought a token or
	// if none was made.
	Failure *Failure
	// Since is when token requests last began to succeed, to be refused, or to fail in another way.
	// Since is zero if there is neither a Token nor a Failure.
	Since time.Time
	// RenewTime is when the next renewal of the token begins, or zero if none is scheduled.
	RenewTime time.Time
}

// Status returns the status of a token key. Status does not read the Store.
func (c *Cache) Status(tokenKey string) Status {
	found, ok := c.entries.Load(tokenKey)
	if !ok {
		return Status{}
	}
	s := found.(*entry).snapshot.Load()
	return Status{Token: s.token, Failure: s.failure, Since: s.since, RenewTime: s.renewTime}
}

// A result is the outcome of the last token request for a token key.
type result int

const (
	noResult result = iota
	issued
	refused
	failed
)

func (s *snapshot) result() result {
	switch {
	case s.failure != nil && s.failure.Refusal:
		return refused
	case s.failure != nil:
		return failed
	case s.token != nil:
		return issued
	default:
		return noResult
	}
}
