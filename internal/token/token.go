// Package token is the arithmetic of a token's life: when it ends, when it must no
// longer be handed out, and when to fetch its successor. It does no I/O and asks
// no clock.
package token

import (
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

// Bounds of a token's life.
const (
	// MaxLifetime is the longest life that a token is believed to have. A provider
	// that names more is taken to mean this much.
	MaxLifetime = 7 * 24 * time.Hour
	// MaxDelay is the longest Delay: a token request takes no longer.
	MaxDelay = 10 * time.Second

	// A token is not handed out in the last part of its life, so that the request
	// it was fetched for arrives while it is valid: maxMargin, or a tenth of the
	// lifetime where that is less.
	maxMargin      = time.Minute
	marginFraction = 10

	// Renewal starts this long before the margin: maxWindow, or a sixth of the
	// lifetime where that is less.
	maxWindow      = 5 * time.Minute
	windowFraction = 6
	// widestFraction bounds a window that was asked for.
	widestFraction = 2

	// The first jitterFraction-th of the window is where renewals start, so that
	// tokens fetched together are not renewed together.
	jitterFraction = 5
)

// Token is what a provider issued. It is not changed once made.
type Token struct {
	// Value is the token itself: visible ASCII and spaces.
	Value secret.Text
	// RequestedAt is when the request for it was sent. Its life counts from here,
	// so that the time which the answer took is never counted twice.
	RequestedAt time.Time
	// RequestedWithin is the uncertainty of RequestedAt: the request was sent up to so much
	// later. It is as long as the Store took to answer.
	RequestedWithin time.Duration
	// Delay is how long the answer took to come. The provider issued the token at some
	// moment of that time.
	Delay time.Duration
	// Lifetime is how long the provider says that it lives, at most MaxLifetime.
	Lifetime time.Duration
	// Assumed reports that the provider named no lifetime that can be read, and that
	// Lifetime is a default.
	Assumed bool
	// Window is how long before its margin renewal may begin, and at most half the
	// lifetime; zero: five minutes, and at most a sixth.
	Window time.Duration
	// EndsPrevious says that this provider ends a token when it issues the next
	// one. There is no early renewal then.
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

// LastEnd is when the provider stops accepting the token at the latest: its lifetime
// counted from the answer. Until then the token is the last resort while requests fail.
func (t *Token) LastEnd() time.Time { return t.End().Add(t.Delay) }

// ExpireTime is when the token must no longer be used: its end, less the margin.
func (t *Token) ExpireTime() time.Time { return t.End().Add(-t.margin()) }

// RenewTime is when to fetch the successor. The jitter, from 0 to 1, moves it
// within the first part of the window. A token whose successor ends it is renewed
// at its ExpireTime, as late as can be.
func (t *Token) RenewTime(jitter float64) time.Time {
	start := t.ExpireTime().Add(-t.window())
	return start.Add(time.Duration(jitter * float64(t.window()/jitterFraction)))
}

// RefreshTime is when a caller that keeps a copy should ask again: later than every
// RenewTime, so that it then gets the successor. For a token whose successor ends it,
// that is after its ExpireTime.
func (t *Token) RefreshTime() time.Time {
	if t.EndsPrevious {
		return t.ExpireTime().Add(t.margin() / 4)
	}
	return t.ExpireTime().Add(-t.window() / 2)
}

// margin is how long before its end the token is no longer handed out.
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
