package strategies

import (
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The budget of token requests for one URL and client: a burst, and then one a
// second. Providers block accounts that ask too often, and a token seldom lives for
// less than minutes.
const (
	budgetBurst    = 20
	budgetInterval = time.Second
)

// budgets holds one limiter for each URL and client. Its zero value is ready.
type budgets struct {
	limiters sync.Map // of [sha256.Size]byte to *rate.Limiter
}

// spend takes one request from the budget, or says how long there is none.
func (b *budgets) spend(r tokenRequest, now time.Time) (wait time.Duration) {
	key := sha256.Sum256([]byte(r.method.TokenRequest.URL + "\x00" + r.clientID.Reveal()))
	value, found := b.limiters.Load(key)
	if !found {
		value, _ = b.limiters.LoadOrStore(key, rate.NewLimiter(rate.Every(budgetInterval), budgetBurst))
	}
	limiter := value.(*rate.Limiter)
	if limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing*float64(budgetInterval)))
}
