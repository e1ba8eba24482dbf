package server

import (
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// maxLoggedIDs bounds how many credentials one log line about their token names.
const maxLoggedIDs = 10

// tokenLog names in the log the credentials that use a token. It never logs the token's key.
type tokenLog struct {
	logger      *slog.Logger
	clock       clockwork.Clock
	credentials func(tokenKey string) []string
}

// of returns a logger of lines about the token with this key.
func (l tokenLog) of(key string) *slog.Logger {
	ids := l.credentials(key)
	line := l.logger.With("credential_ids", ids[:min(len(ids), maxLoggedIDs)])
	if more := len(ids) - maxLoggedIDs; more > 0 {
		line = line.With("more_credentials", more)
	}
	return line
}

// observedToken counts what becomes of a token, and logs what an operator has to know.
type observedToken struct {
	*tokenObserver
	log tokenLog
	key string
}

// observe returns the Observer of a source's token.
func (l tokenLog) observe(source cache.Source, metrics *tokenMetrics) cache.Observer {
	return observedToken{metrics.observe(source), l, source.TokenKey()}
}

// RenewalFailed implements cache.Observer.
func (o observedToken) RenewalFailed(err error, next, end time.Time) {
	known := fault.From(err)
	line := o.log.of(o.key).With("reason", string(known.Reason), "message", known.Message, "token_ends", clock.Wall(o.log.clock, end))
	if next.Before(end) {
		line = line.With("next_attempt", clock.Wall(o.log.clock, next))
	}
	line.Warn("background renewal of a token failed", "provider", o.provider, "auth_method", o.method)
}
