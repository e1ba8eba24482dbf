package cache_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// obtained returns a token that was obtained without the Cache.
func (f *fleet) obtained(value string) *token.Token {
	return &token.Token{Value: secret.New(value), RequestedAt: time.Now(), Lifetime: time.Hour}
}

func TestKeptTokenIsSharedAndNotRenewed(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.fleet[0].Keep(f.provider, f.obtained("kept"))
		f.pass(time.Second)
		f.wantStored("kept")
		f.pass(2 * end)
		f.wantRequests(0)
		f.fleet[0].Keep(f.provider, f.obtained("again"))
		f.pass(time.Second)
		f.wantEverywhere("again")
		f.wantRequests(0)
	})
}

func TestKeptTokenDoesNotReplaceACurrentOne(t *testing.T) {
	inFleet(t, 1, func(f *fleet) {
		f.wantAt("token-1", 0)
		f.pass(time.Second)
		f.fleet[0].Keep(f.provider, f.obtained("kept"))
		f.wantAt("token-1", 0)
		ending := f.obtained("ending")
		ending.EndsPrevious = true // the provider does not accept token-1 any more
		f.fleet[0].Keep(f.provider, ending)
		f.wantAt("ending", 0)
		f.wantRequests(1)
	})
}
