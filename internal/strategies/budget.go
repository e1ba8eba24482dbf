package strategies

import (
	"crypto/sha256"
	"time"

	"github.com/authmaterial/broker/internal/ratelimit"
)

// The budget of token requests for one URL and client: a burst, and then one a
// second. Providers block accounts that ask too often, and a token seldom lives for
// less than minutes.
const (
	budgetBurst     = 20
	budgetPerSecond = 1
	maxBudgets      = 100_000 // that are remembered
)

// budgets are those of each URL and client.
type budgets struct {
	limiter *ratelimit.Limiter[[sha256.Size]byte]
}

func newBudgets() budgets {
	return budgets{ratelimit.New[[sha256.Size]byte](budgetPerSecond, budgetBurst, maxBudgets)}
}

// spend takes one request from the budget, or returns how long there is none.
func (b budgets) spend(r tokenRequest, now time.Time) (wait time.Duration) {
	key := sha256.Sum256([]byte(r.method.TokenRequest.URL + "\x00" + r.clientID.Reveal()))
	return b.limiter.Take(key, 1, now)
}
