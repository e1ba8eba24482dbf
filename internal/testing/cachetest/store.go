// Package cachetest contains the tests that every implementation of cache.Store must pass.
package cachetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// Harness contains the Store under test and its clock.
type Harness struct {
	Store cache.Store
	Clock clockwork.Clock
	// Advance moves the time of the clock and of the Store forward.
	Advance func(time.Duration)
}

const key = "3f"

// TestStore runs all tests of this package. `open` returns an empty Store for each test.
func TestStore(t *testing.T, open func(*testing.T) Harness) {
	tests := map[string]func(*testing.T, Harness){
		"a new Store is empty":                         knowsNothing,
		"a token is kept until it expires":             keepsToken,
		"a token is kept until its field LastEnd":      keepsLateToken,
		"a key is leased to one caller at a time":      leasesKey,
		"keys are leased independently":                leasesIndependently,
		"a valid token is returned without a lease":    enoughWithoutLease,
		"the committed token is returned with a lease": showsLease,
		"a failure is kept with the token":             keepsFailure,
		"a lease stores a token, then a failure":       keepsFailureOfCommitted,
		"failures are forgotten":                       forgetsFailures,
		"a rejected token is not stored again":         refusesRejected,
		"an earlier rejected token is not stored":      refusesRejectedLater,
		"forced renewals are limited":                  limitsForced,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func knowsNothing(t *testing.T, h Harness) {
	h.wantToken(t, "")
	if record := h.load(t); record.Failure != nil {
		t.Errorf("an empty Store has the failure %+v", record.Failure)
	}
}

func keepsToken(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	got := h.load(t).Token
	if got == nil || got.Lifetime != time.Hour || !got.EndsPrevious {
		t.Fatalf("the token that was read from the Store is %+v", got)
	}
	if left := got.End().Sub(h.Clock.Now()); left > time.Hour || left < time.Hour-time.Second {
		t.Errorf("the token is valid for %v, want its lifetime of 1h", left)
	}
	h.Advance(time.Hour - time.Second)
	h.wantToken(t, "first")
	h.Advance(time.Second)
	h.wantToken(t, "")
}

func keepsLateToken(t *testing.T, h Harness) {
	late := h.newToken("late")
	late.RequestedAt, late.Delay = late.RequestedAt.Add(-8*time.Second), 8*time.Second
	h.commit(t, late, false, "late")
	got := h.load(t).Token
	if got == nil || got.Lifetime != time.Hour || got.Delay != 8*time.Second {
		t.Fatalf("the token that was read from the Store is %+v", got)
	}
	if off := got.RequestedAt.Sub(late.RequestedAt).Abs(); off > time.Second {
		t.Errorf("the field RequestedAt of the stored token differs by %v", off)
	}
	h.Advance(time.Hour - time.Second) // the lifetime, which began with the token request, is over now
	h.wantToken(t, "late")
	h.Advance(time.Second)
	h.wantToken(t, "")
}

func leasesKey(t *testing.T, h Harness) {
	_, first := h.lock(t, key)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.Store.Lock(ended, key, never); !errors.Is(err, context.Canceled) {
		t.Fatalf("a second Lock with a cancelled context returned %v, want context.Canceled", err)
	}
	type locked struct {
		cache.Record
		cache.Lease
	}
	second := make(chan locked, 1)
	go func() {
		record, lease, err := h.Store.Lock(t.Context(), key, never)
		if err != nil {
			t.Errorf("the second Lock failed: %v", err)
		}
		second <- locked{record, lease}
	}()
	if _, err := first.Commit(t.Context(), h.newToken("first"), false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second:
		t.Fatal("the second Lock succeeded before the first lease was released")
	default:
	}
	first.Release()
	got := <-second
	defer got.Release()
	if got.Token == nil || got.Token.Value.Reveal() != "first" {
		t.Errorf("the second Lock did not return the token that was committed under the first lease")
	}
}

func enoughWithoutLease(t *testing.T, h Harness) {
	hasToken := func(record cache.Record) bool { return record.Token != nil }
	record, lease, err := h.Store.Lock(t.Context(), key, hasToken)
	if err != nil || lease == nil {
		t.Fatalf("Lock of a key without a token returned the lease %v and the error %v", lease, err)
	}
	if record.Token != nil {
		t.Error("Lock of a key without a token returned a token")
	}
	waiting := make(chan cache.Record, 1)
	go func() {
		record, lease, err := h.Store.Lock(t.Context(), key, hasToken)
		if err != nil || lease != nil {
			t.Errorf("Lock that waits for a token returned the lease %v and the error %v, want neither", lease, err)
		}
		waiting <- record
	}()
	if _, err := lease.Commit(t.Context(), h.newToken("first"), false); err != nil {
		t.Fatal(err)
	}
	lease.Release()
	if record := <-waiting; record.Token == nil || record.Token.Value.Reveal() != "first" {
		t.Error("the waiting Lock did not return the token")
	}
	_, held := h.lock(t, key)
	defer held.Release()
	record, lease, err = h.Store.Lock(t.Context(), key, hasToken)
	if err != nil || lease != nil || record.Token == nil {
		t.Errorf("Lock returned the lease %v and the error %v for a leased key that has a token, want the token without a lease", lease, err)
	}
}

func leasesIndependently(t *testing.T, h Harness) {
	_, one := h.lock(t, "one")
	defer one.Release()
	_, two := h.lock(t, "two") // would wait forever
	defer two.Release()
}

func showsLease(t *testing.T, h Harness) {
	record, lease := h.lock(t, key)
	if record.Token != nil {
		t.Error("Lock of a key without a token returned a token")
	}
	lease.Release()
	h.commit(t, h.newToken("first"), false, "first")
	record, lease = h.lock(t, key)
	defer lease.Release()
	if record.Token == nil || record.Token.Value.Reveal() != "first" {
		t.Error("Lock did not return the stored token")
	}
}

func keepsFailure(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	want := cache.Failure{
		Fault: fault.New(fault.CredentialRejected, "SendPulse refused the credential"),
		Until: h.Clock.Now().Add(30 * time.Second), RenewalUntil: h.Clock.Now().Add(time.Minute),
		Count: 3, Refusal: true,
	}
	h.fail(t, want)
	h.wantToken(t, "first")
	got := h.load(t).Failure
	if got == nil || got.Count != want.Count || got.Refusal != want.Refusal || got.Fault.Reason != want.Fault.Reason || got.Fault.Message != want.Fault.Message {
		t.Fatalf("the failure that was read from the Store is %+v, want %+v", got, want)
	}
	if off := got.Until.Sub(want.Until).Abs(); off > time.Second {
		t.Errorf("the field Until of the stored failure differs by %v", off)
	}
	if off := got.RenewalUntil.Sub(want.RenewalUntil).Abs(); off > time.Second {
		t.Errorf("the field RenewalUntil of the stored failure differs by %v", off)
	}
	h.commit(t, h.newToken("second"), false, "second")
	if record := h.load(t); record.Failure != nil {
		t.Error("a token was committed, but the Store still has the failure")
	}
}

func keepsFailureOfCommitted(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	_, lease := h.lock(t, key)
	defer lease.Release()
	if _, err := lease.Commit(t.Context(), h.newToken("second"), false); err != nil {
		t.Fatal(err)
	}
	failure := cache.Failure{Fault: fault.New(fault.ProviderUnavailable, "late"), Until: h.Clock.Now().Add(time.Minute), Count: 1}
	if err := lease.Fail(t.Context(), &failure); err != nil {
		t.Errorf("the method Fail returned %v after a Commit", err)
	}
	h.wantToken(t, "second")
	if h.load(t).Failure == nil {
		t.Error("the Store does not have the failure")
	}
}

func forgetsFailures(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	h.fail(t, cache.Failure{Fault: fault.New(fault.ProviderUnavailable, "down"), Until: h.Clock.Now().Add(time.Minute), Count: 1})
	if err := h.Store.ForgetFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if record := h.load(t); record.Failure != nil {
		t.Error("after ForgetFailures the Store still has the failure")
	}
	h.wantToken(t, "first")
}

func refusesRejected(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	h.commit(t, h.newToken("first"), true, "first") // the provider issued the token again
	h.commit(t, h.newToken("second"), true, "second")
	h.wantToken(t, "second")
}

func refusesRejectedLater(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first")
	h.commit(t, h.newToken("second"), true, "second")
	h.commit(t, h.newToken("first"), false, "second")
	h.wantToken(t, "second")
}

func limitsForced(t *testing.T, h Harness) {
	h.commit(t, h.newToken("first"), false, "first") // no forced renewal
	second := h.forcedRenewal(t, "second")
	h.commit(t, h.newToken("second"), true, "second") // the provider issued the token again
	h.commit(t, h.newToken("first"), true, "second")  // the provider issued a token that was rejected before
	h.wantForcedWait(t, period{})
	h.Advance(4 * time.Second)
	third := h.forcedRenewal(t, "third")
	h.wantForcedWait(t, second)
	h.wantForcedWait(t, second) // a call of ForcedWait does not count as a renewal
	h.Advance(6 * time.Second)
	h.wantForcedWait(t, period{})
	h.forcedRenewal(t, "fourth")
	h.wantForcedWait(t, third)
}

// period is a time in which something happened, by the clock of the Store.
type period struct{ from, to time.Time }

func (h Harness) forcedRenewal(t *testing.T, value string) (when period) {
	t.Helper()
	when.from = h.Clock.Now()
	h.commit(t, h.newToken(value), true, value)
	when.to = h.Clock.Now()
	return when
}

// wantForcedWait checks that at most two forced renewals are allowed in 10 s: the next one must wait
// until the given one is 10 s old. A renewal of the zero period demands no wait.
func (h Harness) wantForcedWait(t *testing.T, renewal period) {
	t.Helper()
	const window, rounding = 10 * time.Second, 10 * time.Millisecond
	_, lease := h.lock(t, key)
	defer lease.Release()
	asked := h.Clock.Now()
	got, err := lease.ForcedWait(t.Context(), 2, window)
	if err != nil {
		t.Fatal(err)
	}
	var least, most time.Duration
	if renewal != (period{}) {
		least = max(0, renewal.from.Add(window).Sub(h.Clock.Now())-rounding)
		most = renewal.to.Add(window).Sub(asked) + rounding
	}
	if got < least || got > most {
		t.Errorf("ForcedWait() = %v, want %v to %v", got, least, most)
	}
}

func (h Harness) newToken(value string) *token.Token {
	return &token.Token{Value: secret.New(value), RequestedAt: h.Clock.Now(), Lifetime: time.Hour, EndsPrevious: true}
}

// `never` is a condition for Lock that no record satisfies.
func never(cache.Record) bool { return false }

func (h Harness) lock(t *testing.T, key string) (cache.Record, cache.Lease) {
	t.Helper()
	record, lease, err := h.Store.Lock(t.Context(), key, never)
	if err != nil {
		t.Fatal(err)
	}
	return record, lease
}

func (h Harness) load(t *testing.T) cache.Record {
	t.Helper()
	record, err := h.Store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// commit stores a token under a lease, and checks which token Commit returns.
func (h Harness) commit(t *testing.T, fresh *token.Token, rejected bool, want string) {
	t.Helper()
	_, lease := h.lock(t, key)
	defer lease.Release()
	standing, err := lease.Commit(t.Context(), fresh, rejected)
	if err != nil {
		t.Fatal(err)
	}
	if standing == nil || standing.Value.Reveal() != want {
		t.Errorf("Commit(%q) did not return the token %q", fresh.Value.Reveal(), want)
	}
}

func (h Harness) fail(t *testing.T, failure cache.Failure) {
	t.Helper()
	_, lease := h.lock(t, key)
	defer lease.Release()
	if err := lease.Fail(t.Context(), &failure); err != nil {
		t.Fatal(err)
	}
}

// wantToken checks which token the Store contains. If `want` is empty, the Store must contain no
// token.
func (h Harness) wantToken(t *testing.T, want string) {
	t.Helper()
	got := ""
	if record := h.load(t); record.Token != nil {
		got = record.Token.Value.Reveal()
	}
	if got != want {
		t.Errorf("the Store has the token %q, want %q", got, want)
	}
}
