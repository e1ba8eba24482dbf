// Package token computes the times in a token's life: when the token ends, when it must no
// longer be used, and when to fetch its successor. The package does no I/O and reads no clock.
package token

import (
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

// These constants limit a token's lifetime and delay.
const (
	// MaxLifetime is the longest lifetime of a token. If a provider names a longer lifetime,
	// MaxLifetime is used instead.
	MaxLifetime = 7 * 24 * time.Hour
	// MaxDelay is the longest Delay of a token, because a token request takes no longer.
	MaxDelay = 10 * time.Second

	// The safety margin is the last part of a token's life. The token is not used in its safety
	// margin, so that a request with the token arrives while the token is valid. The margin is
	// maxMargin, or a tenth of the lifetime if that is less.
	maxMargin      = time.Minute
	marginFraction = 10

	// The renewal window is the time before the margin in which renewal starts. The renewal
	// window is maxWindow, or a sixth of the lifetime if that is less.
	maxWindow      = 5 * time.Minute
	windowFraction = 6
	// widestFraction limits a configured renewal window to half the token's lifetime.
	widestFraction = 2

	// Renewals start at a random moment in the first fifth of the renewal window, so that tokens
	// that were fetched together are not renewed together.
	jitterFraction = 5
)

// Token is a token that a provider issued. It is immutable.
type Token struct {
	// Value is the token itself: visible ASCII and spaces.
	Value secret.Text
	// RequestedAt is when the token request was sent. The token's lifetime counts from
	// RequestedAt.
	RequestedAt time.Time
	// RequestedWithin is the error of RequestedAt: the token request may have been sent later
	// than RequestedAt, by at most RequestedWithin. RequestedWithin is the time that reading the
	// token in a store took.
	RequestedWithin time.Duration
	// Delay is how long the provider's answer to the token request took. The provider issued the
	// token at some moment during the Delay.
	Delay time.Duration
	// Lifetime is the lifetime that the provider named, at most MaxLifetime.
	Lifetime time.Duration
	// Assumed reports that the provider named no readable lifetime, and Lifetime is a default.
	Assumed bool
	// Window is how long before the safety margin renewal may begin, at most half the lifetime.
	// The zero value means five minutes, or a sixth of the lifetime if that is less.
	Window time.Duration
	// EndsPrevious reports that the provider ends the current token when the provider issues the
	// next token. Such tokens are not renewed early.
	EndsPrevious bool
}

// A token is newer than another token of the same value if it lives longer by at least
// leastProgress.
const leastProgress = time.Second

// Newer reports whether t is certainly newer than other. A token is newer if it was requested
// later, by more than within and by more than other's RequestedWithin. Of two tokens with the
// same value, the newer token is the one that certainly lives longer, because some providers
// issue the same token again until it ends.
func (t *Token) Newer(other *Token, within time.Duration) bool {
	if t.Value.Equal(other.Value) {
		return !t.Assumed && t.End().After(other.End().Add(leastProgress))
	}
	return t.RequestedAt.Sub(other.RequestedAt) > max(within, other.RequestedWithin)
}

// End is the earliest time at which the provider may stop accepting the token: the token's
// lifetime counted from the token request.
func (t *Token) End() time.Time { return t.RequestedAt.Add(t.Lifetime) }

// LastEnd is the latest time at which the provider stops accepting the token: the token's
// lifetime counted from the provider's answer. Until then the token may be used while token
// requests fail.
func (t *Token) LastEnd() time.Time { return t.End().Add(t.Delay) }

// ExpireTime is when the token must no longer be used: its End minus the safety margin.
func (t *Token) ExpireTime() time.Time { return t.End().Add(-t.margin()) }

// RenewTime is when to fetch the token's successor. The jitter, from 0 to 1, moves the RenewTime
// within the first part of the renewal window. A token with EndsPrevious set is renewed at its
// ExpireTime.
func (t *Token) RenewTime(jitter float64) time.Time {
	start := t.ExpireTime().Add(-t.window())
	return start.Add(time.Duration(jitter * float64(t.window()/jitterFraction)))
}

// RefreshTime is when a caller that keeps a copy of the token should ask the broker again. The
// RefreshTime is later than every RenewTime, so that the caller then gets the successor. For a
// token with EndsPrevious set, RefreshTime is after the ExpireTime.
func (t *Token) RefreshTime() time.Time {
	if t.EndsPrevious {
		return t.ExpireTime().Add(t.margin() / 4)
	}
	return t.ExpireTime().Add(-t.window() / 2)
}

// margin returns how long before its end the token is no longer used.
func (t *Token) margin() time.Duration {
	return min(maxMargin, t.Lifetime/marginFraction)
}

// window returns how long before its ExpireTime the token may be renewed.
func (t *Token) window() time.Duration {
	if t.EndsPrevious {
		return 0
	}
	if t.Window > 0 {
		return min(t.Window, t.Lifetime/widestFraction)
	}
	return min(maxWindow, t.Lifetime/windowFraction)
}
