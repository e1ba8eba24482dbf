// Package token computes the times in a token's life: when the token ends, when it must no longer
// be used, and when to fetch its successor. The package does no I/O and reads no clock.
package token

import (
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

const (
	// MaxLifetime is the longest lifetime of a token, even if the provider names a longer one.
	MaxLifetime = 7 * 24 * time.Hour
	// MaxDelay is the maximum value of Token.Delay, and the time limit of a token request.
	MaxDelay = 10 * time.Second

	// The safety margin is the last part of a token's life. The token may end before a request with
	// it reaches the provider, so the broker serves a token in its safety margin only while it
	// cannot get a newer one. The margin is maxMargin long, or a tenth of the token's lifetime if
	// that is shorter.
	maxMargin      = time.Minute
	marginFraction = 10

	// A token's renewal starts in the renewal window: a time span that ends when the safety margin
	// begins. The window is maxWindow long, or a sixth of the token's lifetime if that is shorter.
	maxWindow      = 5 * time.Minute
	windowFraction = 6
	// widestFraction limits a configured renewal window to half the token's lifetime.
	widestFraction = 2

	// The renewal starts at a random moment in the first fifth of the renewal window, so that
	// tokens that were fetched at the same time are renewed at different times.
	jitterFraction = 5
)

// Token is a token that a provider issued. A Token is immutable.
type Token struct {
	// Value is the token's text: visible ASCII characters and spaces.
	Value secret.Text
	// RequestedAt is when the token request was sent. The token's lifetime counts from RequestedAt.
	RequestedAt time.Time
	// RequestedWithin is the inaccuracy of RequestedAt: the token request was sent at RequestedAt
	// or up to RequestedWithin later. For a token that was read from Redis, RequestedWithin is the
	// time that the read took.
	RequestedWithin time.Duration
	// Delay is the time from the token request to the provider's answer. The provider issued the
	// token at some moment in that time.
	Delay time.Duration
	// Lifetime is the lifetime that the provider named, at most MaxLifetime.
	Lifetime time.Duration
	// Assumed reports that the provider named no readable lifetime, so Lifetime is a default value.
	Assumed bool
	// Window is the length of the renewal window, at most half the lifetime. A Window of zero means
	// five minutes, or a sixth of the lifetime if that is shorter.
	Window time.Duration
	// EndsPrevious reports that the provider ends the current token as soon as it issues the next
	// one. A token with EndsPrevious set is not renewed early.
	EndsPrevious bool
}

// Of two tokens with the same value, the one that lives longer counts as newer if the difference is
// at least leastProgress.
const leastProgress = time.Second

// Newer reports whether t was certainly requested after the other token: later by more than the
// duration `within`, and by more than the inaccuracy of the other token's RequestedAt. Some
// providers issue the same token again until it ends. If both tokens have the same value, Newer
// therefore reports whether t certainly lives longer.
func (t *Token) Newer(other *Token, within time.Duration) bool {
	if t.Value.Equal(other.Value) {
		return !t.Assumed && t.End().After(other.End().Add(leastProgress))
	}
	return t.RequestedAt.Sub(other.RequestedAt) > max(within, other.RequestedWithin)
}

// End is the earliest time at which the provider may stop accepting the token: the end of its
// lifetime, counted from the token request.
func (t *Token) End() time.Time { return t.RequestedAt.Add(t.Lifetime) }

// LastEnd is the latest time at which the provider stops accepting the token: the end of its
// lifetime, counted from the provider's answer. While token requests fail, the broker may use the
// token until its LastEnd.
func (t *Token) LastEnd() time.Time { return t.End().Add(t.Delay) }

// ExpireTime is when the token expires for the broker: its End minus the safety margin.
func (t *Token) ExpireTime() time.Time { return t.End().Add(-t.margin()) }

// RenewTime is when the broker should fetch the token's successor. The jitter, a number from 0 to
// 1, moves the RenewTime within the first part of the renewal window. A token with EndsPrevious set
// is renewed at its ExpireTime.
func (t *Token) RenewTime(jitter float64) time.Time {
	start := t.ExpireTime().Add(-t.window())
	return start.Add(time.Duration(jitter * float64(t.window()/jitterFraction)))
}

// RefreshTime is when a caller that keeps a copy of the token should ask the broker again. The
// RefreshTime is later than every possible RenewTime, so that the caller then gets the token's
// successor. For a token with EndsPrevious set, the RefreshTime is after the ExpireTime.
func (t *Token) RefreshTime() time.Time {
	if t.EndsPrevious {
		return t.ExpireTime().Add(t.margin() / 4)
	}
	return t.ExpireTime().Add(-t.window() / 2)
}

func (t *Token) margin() time.Duration {
	return min(maxMargin, t.Lifetime/marginFraction)
}

func (t *Token) window() time.Duration {
	if t.EndsPrevious {
		return 0
	}
	if t.Window > 0 {
		return min(t.Window, t.Lifetime/widestFraction)
	}
	return min(maxWindow, t.Lifetime/windowFraction)
}
