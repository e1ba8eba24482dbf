// Package token computes the times in a token's life: when it ends, when it must no longer be used, and
// when to fetch its successor. It does no I/O and reads no clock.
package token

import (
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

// Bounds of a token's life.
const (
	// MaxLifetime is the longest lifetime of a token. A longer one that a provider names is cut to it.
	MaxLifetime = 7 * 24 * time.Hour
	// MaxDelay is the longest Delay, because a token request takes no longer.
	MaxDelay = 10 * time.Second

	// A token is not used in its margin, the last part of its life, so that a request with it arrives
	// while the token is valid. The margin is maxMargin, or a tenth of the lifetime if that is less.
	maxMargin      = time.Minute
	marginFraction = 10

	// Renewal starts in the window before the margin: maxWindow, or a sixth of the lifetime if that is
	// less.
	maxWindow      = 5 * time.Minute
	windowFraction = 6
	// widestFraction bounds a configured window: half the lifetime.
	widestFraction = 2

	// Renewals start in the first fifth of the window, at random, so that tokens that were fetched
	// together are not renewed together.
	jitterFraction = 5
)

// Token is a token that a provider issued. It is immutable.
type Token struct {
	// Value is the token itself: visible ASCII and spaces.
	Value secret.Text
	// RequestedAt is when the request for it was sent. Its lifetime counts from here.
	RequestedAt time.Time
	// RequestedWithin is the error of RequestedAt: the request may have been sent later, by this much at
	// most. It is the time that reading the token in a store took.
	RequestedWithin time.Duration
	// Delay is how long the answer took. The provider issued the token at some moment of that time.
	Delay time.Duration
	// Lifetime is the lifetime that the provider named, at most MaxLifetime.
	Lifetime time.Duration
	// Assumed reports that the provider named no readable lifetime, and Lifetime is a default.
	Assumed bool
	// Window is how long before the margin renewal may begin, at most half the lifetime; zero: five
	// minutes, at most a sixth of the lifetime.
	Window time.Duration
	// EndsPrevious reports that the provider ends a token when it issues the next one. Such tokens are
	// not renewed early.
	EndsPrevious bool
}

// leastProgress is by how much a token must outlive another of the same value to be newer.
const leastProgress = time.Second

// Newer reports whether t is certainly newer than other: it was requested later, by more than within
// and more than other's RequestedWithin. Of two tokens with the same value, the newer one is known to
// live longer: some providers issue a token again until it ends.
func (t *Token) Newer(other *Token, within time.Duration) bool {
	if t.Value.Equal(other.Value) {
		return !t.Assumed && t.End().After(other.End().Add(leastProgress))
	}
	return t.RequestedAt.Sub(other.RequestedAt) > max(within, other.RequestedWithin)
}

// End is when the provider stops accepting the token at the earliest: its lifetime counted
// from the request.
func (t *Token) End() time.Time { return t.RequestedAt.Add(t.Lifetime) }

// LastEnd is when the provider stops accepting the token at the latest: its lifetime counted from the
// answer. Until then the token may be used while requests fail.
func (t *Token) LastEnd() time.Time { return t.End().Add(t.Delay) }

// ExpireTime is when the token must no longer be used: its end minus the margin.
func (t *Token) ExpireTime() time.Time { return t.End().Add(-t.margin()) }

// RenewTime is when to fetch the successor. The jitter, from 0 to 1, moves it within the first part of the
// window. A token that its successor ends is renewed at its ExpireTime.
func (t *Token) RenewTime(jitter float64) time.Time {
	start := t.ExpireTime().Add(-t.window())
	return start.Add(time.Duration(jitter * float64(t.window()/jitterFraction)))
}

// RefreshTime is when a caller that keeps a copy should ask again: later than every RenewTime, so that it
// then gets the successor. For a token that its successor ends, that is after its ExpireTime.
func (t *Token) RefreshTime() time.Time {
	if t.EndsPrevious {
		return t.ExpireTime().Add(t.margin() / 4)
	}
	return t.ExpireTime().Add(-t.window() / 2)
}

// margin is how long before its end the token is no longer used.
func (t *Token) margin() time.Duration {
	return min(maxMargin, t.Lifetime/marginFraction)
}

// window is how long before its ExpireTime the token may be renewed.
func (t *Token) window() time.Duration {
	if t.EndsPrevious {
		return 0
	}
	if t.Window > 0 {
		return min(t.Window, t.Lifetime/widestFraction)
	}
	return min(maxWindow, t.Lifetime/windowFraction)
}
