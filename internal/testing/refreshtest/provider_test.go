package refreshtest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authmaterial/broker/internal/store"
)

// provider issues a new refresh token with each token. It accepts the last refresh token and, until that
// one was used, the one before, because its answer may have been lost.
type provider struct {
	*httptest.Server

	t      *testing.T
	driver store.Driver

	mu             sync.Mutex
	last, previous string
	issued         int
	// The position in the chain at which a refresh token was used, and at which the refresh token of an
	// access token must be stored.
	usedAt, storedAt map[string]int
	round            atomic.Pointer[round]
}

func startProvider(t *testing.T, driver store.Driver) *provider {
	p := &provider{t: t, driver: driver, last: "refresh-0", usedAt: map[string]int{}, storedAt: map[string]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, replica, _ := strings.Cut(r.UserAgent(), "/")
	used := r.PostFormValue("refresh_token")
	p.round.Load().reached(replica, beforeAnswer)
	body, ok := p.exchange(used)
	p.round.Load().reached(replica, afterExchange)
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = fmt.Fprint(w, body)
}

// exchange issues the successor of a refresh token.
func (p *provider) exchange(used string) (body string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := max(p.position(), 1)
	if first, again := p.usedAt[used]; again && at != first {
		p.t.Errorf("the refresh token %s was used at the position %d, and again at %d, after its successor was stored", used, first, at)
	}
	p.usedAt[used] = at
	if used != p.last && used != p.previous {
		p.t.Errorf("the refresh token %s is lost: the provider accepts only %s and %s", used, p.last, p.previous)
		return `{"error":"invalid_grant"}`, false
	}
	p.issued++
	access := fmt.Sprint("access-", p.issued)
	p.last, p.previous = fmt.Sprint("refresh-", p.issued), used
	p.storedAt["Bearer "+access] = at + 1
	return fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":1}`, access, p.last), true
}

// position returns the position of the stored refresh token in its chain, or 0.
func (p *provider) position() (position int) {
	err := p.driver.Reader().QueryRowContext(context.Background(), `SELECT coalesce(max(sequence), 0) FROM refresh_tokens`).Scan(&position)
	if err != nil {
		p.t.Error(err)
	}
	return position
}

// served checks that the refresh token was stored before its access token was served.
func (p *provider) served(access string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if want, known := p.storedAt[access]; !known || p.position() < want {
		p.t.Errorf("the token %s was served before its refresh token was stored, or was never issued", access)
	}
}

// endLease lets the lease of a killed replica end at once.
func (p *provider) endLease() {
	if _, err := p.driver.Writer().ExecContext(context.Background(), `UPDATE refresh_tokens SET lease_end = 1`); err != nil {
		p.t.Error(err)
	}
}
