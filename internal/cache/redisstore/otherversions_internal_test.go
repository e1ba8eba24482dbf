package redisstore

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/token"
)

// Earlier versions of the broker wrote entries without the field `delay`. No version writes a
// negative or a very long delay, but the broker must also read such entries.
func TestTokensOfOtherVersions(t *testing.T) {
	keys := fleetkeys.RandomRing()
	store := New(Options{Server: Server{Addresses: []string{"127.0.0.1:1"}}, Keys: keys})
	t.Cleanup(store.Close)
	here := newKeySet(keys.Names("3f")[0])
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	const left = 30 * time.Minute
	open := func(text string, left time.Duration) *token.Token {
		opened, _ := store.readToken(here, string(keys.Seal(here.token, []byte(text))), left.Milliseconds(), now)
		return opened
	}
	for text, want := range map[string]time.Duration{
		`{"value":"a","lifetime":3600000000000}`:                                      0,
		`{"value":"a","lifetime":3600000000000,"delay":8000000000}`:                   8 * time.Second,
		`{"value":"a","lifetime":3600000000000,"delay":-8000000000}`:                  0,
		`{"value":"a","lifetime":3600000000000,"delay":9223372036854775807}`:          10 * time.Second,
		`{"value":"a","lifetime":3600000000000,"delay":8000000000,"of a later":true}`: 8 * time.Second,
	} {
		got := open(text, left)
		if got == nil {
			t.Errorf("the entry %s cannot be read", text)
			continue
		}
		if got.Delay != want || got.LastEnd() != now.Add(left) {
			t.Errorf("the token of the entry %s has the Delay %v and ends in %v, want the Delay %v and the end in %v", text, got.Delay, got.LastEnd().Sub(now), want, left)
		}
	}
	if open(`{"value":"a","lifetime":604801000000000}`, left) != nil {
		t.Error("a token with a lifetime of more than 7 days is accepted")
	}
	// An earlier version of the broker treats the arrival of the provider's answer as the time of
	// the token request. The earlier version must not serve the token longer than the present
	// version does.
	late := open(`{"value":"a","lifetime":3600000000000,"delay":8000000000}`, time.Hour)
	if late == nil {
		t.Fatal("an entry with the field delay cannot be read")
	}
	plain, err := keys.Open(here.token, store.sealToken(here, late))
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]any
	if err := json.Unmarshal(plain, &stored); err != nil || stored["lifetime"] != float64(time.Hour) {
		t.Errorf("the stored lifetime is %v, error %v; want one hour", stored["lifetime"], err)
	}
}
