package redisstore

import (
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/token"
)

// FuzzOpen reads random entries, unencrypted and encrypted. The result must be no token, or a token
// with a possible lifetime.
func FuzzOpen(f *testing.F) {
	keys := fleetkeys.RandomRing()
	store := New(Options{Server: Server{Addresses: []string{"127.0.0.1:1"}}, Keys: keys})
	f.Cleanup(store.Close)
	for _, seed := range []string{
		"", "\x01", "swordfish", "{}", "null", "[]", `{"value":"a","lifetime":3600000000000}`,
		`{"value":"a","lifetime":1,"window":-1,"assumed":true,"ends_previous":true}`,
		`{"value":"","lifetime":1e9}`, `{"value":"a\u0000","lifetime":-1}`, `{"reason":"internal","count":-1,"renewal_wait":9223372036854775807}`,
		`{"reason":"x","message":"` + strings.Repeat("a", 100) + `","count":9223372036854775807,"refusal":true}`,
	} {
		f.Add(seed, int64(1_000), int64(2))
		f.Add(seed, int64(-1), int64(0))
		f.Add(seed, int64(1)<<62, int64(9))
	}
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	here := newKeySet(keys.Names("3f")[0])
	f.Fuzz(func(t *testing.T, text string, left, changed int64) {
		for _, raw := range []string{text, damaged(string(keys.Seal(here.token, []byte(text))), changed)} {
			if opened, _ := store.readToken(here, raw, left, now); opened != nil {
				t.Fatalf("readToken returns a token from an entry that no broker encrypted: %q", raw)
			}
		}
		if failure := store.readFailure(here, text, left, now); failure != nil {
			t.Fatal("readFailure returns a failure from an entry that no broker encrypted")
		}
		opened, seen := store.readToken(here, string(keys.Seal(here.token, []byte(text))), left, now)
		if seen == "" {
			t.Error("readToken does not return the entry")
		}
		if opened != nil {
			if opened.Value.Reveal() == "" || opened.Lifetime <= 0 {
				t.Errorf("the entry %s is read as a token without a value or a lifetime", text)
			}
			if ends := opened.LastEnd().Sub(now); ends < 0 || ends > opened.Lifetime || opened.Delay < 0 || opened.Delay > token.MaxDelay {
				t.Errorf("the entry %s is read as a token that ends in %v, with a delay of %v", text, ends, opened.Delay)
			}
			again := string(store.sealToken(here, opened))
			if got, _ := store.readToken(here, again, left, now); got == nil || !got.Value.Equal(opened.Value) || got.Lifetime != opened.Lifetime || got.Delay != opened.Delay {
				t.Errorf("the entry %s cannot be encrypted and read again", text)
			}
		}
		if failure := store.readFailure(here, string(keys.Seal(here.failure, []byte(text))), left, now); failure != nil {
			if failure.RenewalUntil.Sub(now) > time.Duration(left)*time.Millisecond || failure.RenewalUntil.Before(failure.Until) {
				t.Errorf("the entry %s is read as a failure that lasts longer than the entry", text)
			}
			again, _ := store.sealFailure(here, failure, now)
			if got := store.readFailure(here, string(again), left, now); got == nil || got.Fault.Reason != failure.Fault.Reason || got.Count != failure.Count {
				t.Errorf("the entry %s cannot be encrypted and read again", text)
			}
		}
	})
}

func damaged(sealed string, bit int64) string {
	bytes := []byte(sealed)
	bytes[uint64(bit)/8%uint64(len(bytes))] ^= 1 << (uint64(bit) % 8)
	return string(bytes)
}

// In the last millisecond of its life, an entry counts as absent, not as unreadable.
func TestLastMoment(t *testing.T) {
	keys := fleetkeys.RandomRing()
	store := New(Options{Server: Server{Addresses: []string{"127.0.0.1:1"}}, Keys: keys, Observer: complaining{t}})
	t.Cleanup(store.Close)
	here := newKeySet(keys.Names("3f")[0])
	sealed := string(keys.Seal(here.token, []byte(`{"value":"a","lifetime":3600000000000}`)))
	token, seen := store.readToken(here, sealed, int64(0), time.Now())
	if token != nil || seen != sealed {
		t.Errorf("the token is %v, want nil; the stored entry was returned: %v", token, seen == sealed)
	}
	if failure := store.readFailure(here, string(keys.Seal(here.failure, []byte(`{}`))), int64(0), time.Now()); failure != nil {
		t.Errorf("the failure is %+v, want none", failure)
	}
}

type complaining struct{ *testing.T }

func (complaining) Operated(string, string, time.Duration) {}
func (c complaining) Unreadable(cause string)              { c.Errorf("unreadable: %s", cause) }
func (complaining) Degraded(bool)                          {}
