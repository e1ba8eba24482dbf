package token_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

func TestLife(t *testing.T) {
	requested := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		lifetime                       time.Duration
		ends                           bool
		expire, first, last, refreshed time.Duration
	}{
		// The safety margin is a minute, or a tenth of a shorter lifetime. The renewal window,
		// which ends when the safety margin begins, is five minutes, or a sixth of a shorter
		// lifetime. Renewals start in the first fifth of the renewal window.
		{time.Hour, false, 59 * time.Minute, 54 * time.Minute, 55 * time.Minute, 56*time.Minute + 30*time.Second},
		{24 * time.Hour, false, 24*time.Hour - time.Minute, 24*time.Hour - 6*time.Minute, 24*time.Hour - 5*time.Minute, 24*time.Hour - 3*time.Minute - 30*time.Second},
		{5 * time.Minute, false, 270 * time.Second, 220 * time.Second, 230 * time.Second, 245 * time.Second},
		{6 * time.Second, false, 5400 * time.Millisecond, 4400 * time.Millisecond, 4600 * time.Millisecond, 4900 * time.Millisecond},
		{time.Hour, true, 59 * time.Minute, 59 * time.Minute, 59 * time.Minute, 59*time.Minute + 15*time.Second},
	} {
		issued := &token.Token{RequestedAt: requested, Lifetime: test.lifetime, EndsPrevious: test.ends}
		for what, got := range map[string]struct{ is, want time.Duration }{
			"End":           {issued.End().Sub(requested), test.lifetime},
			"ExpireTime":    {issued.ExpireTime().Sub(requested), test.expire},
			"RenewTime(0)":  {issued.RenewTime(0).Sub(requested), test.first},
			"RenewTime(1)":  {issued.RenewTime(1).Sub(requested), test.last},
			"RefreshTime()": {issued.RefreshTime().Sub(requested), test.refreshed},
		} {
			if got.is != got.want {
				t.Errorf("with the lifetime %v and EndsPrevious %v, %s is %v after the request, want %v", test.lifetime, test.ends, what, got.is, got.want)
			}
		}
		if !issued.RefreshTime().After(issued.RenewTime(1)) {
			t.Errorf("with the lifetime %v and EndsPrevious %v, callers would ask again before the renewal", test.lifetime, test.ends)
		}
	}
}
