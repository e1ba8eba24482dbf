package strategies

import (
	"context"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/ratelimit"
	"github.com/authmaterial/broker/internal/token"
)

const (
	requestTimeout = token.MaxDelay
	maxAnswerSize  = 1 << 20 // size limit of an answer's body after decompression, in bytes

	// Each pair of URL and client has a budget of token requests: a burst at first, and then one
	// request per second. The budget keeps providers from blocking accounts that send too many
	// requests. One request per second is enough, because most tokens are valid for minutes or
	// longer.
	budgetBurst     = 20
	budgetPerSecond = 1
	maxBudgets      = 100_000
)

// TokenRequestEvent describes the outcome of one token request for logs and metrics.
type TokenRequestEvent struct {
	Provider   string // provider ID
	AuthMethod string // auth method ID
	TokenKey   string // the TokenKey of the TokenSource; never print or store it
	Status     int    // HTTP status of the answer; 0 if no answer arrived
	OAuthError string // error code in the answer, if it is a registered one
	Duration   time.Duration
	// LifetimeAssumed reports that the token has the default lifetime of the auth method, because
	// the field expires_in of the answer is missing or cannot be parsed. If successive tokens of a
	// credential have the default lifetime, LifetimeAssumed is true only for the first of them.
	LifetimeAssumed bool
	// Err is nil if a token was issued. The reason in Err is CredentialRejected,
	// ProviderRateLimited or ProviderUnavailable, depending on the answer, or RateLimited if the
	// request was not sent because the budget is used up, or StoreUnavailable if the refresh token
	// could not be read or stored. The message of Err contains nothing
	// secret.
	Err *fault.Error
}

// TokenClientOptions configure a TokenClient. The zero value is usable.
type TokenClientOptions struct {
	// Transport sends the requests. By default, Transport is an egress.Transport.
	Transport http.RoundTripper
	// Clock is the source of the time, by default the clock of the machine.
	Clock clockwork.Clock
	// UserAgent is the value of the header User-Agent. If UserAgent is empty, the header is not
	// sent.
	UserAgent string
	// RenewalWindow is the length of the time span in which the renewal of a token may begin. The
	// renewal's time span ends when the safety margin of the token begins. RenewalWindow is limited
	// to half the token's lifetime, and by default is five minutes, but at most a sixth of the
	// lifetime.
	RenewalWindow time.Duration
	// RefreshTokens keeps refresh tokens that are replaced with each token. If RefreshTokens is nil,
	// methods with such refresh tokens fail.
	RefreshTokens RefreshTokens
	// Observe, if not nil, is called after each request, and also if the request was not sent
	// because the budget is used up.
	Observe func(TokenRequestEvent)
	// Begin, if not nil, is called before a request is sent. Begin returns a context for the
	// request, derived from ctx, and a function that is called after the request.
	Begin func(ctx context.Context, provider, authMethod string) (context.Context, func(TokenRequestEvent))
}

func (o TokenClientOptions) withDefaults() TokenClientOptions {
	if o.Transport == nil {
		o.Transport = egress.NewTransport(egress.Options{})
	}
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Observe == nil {
		o.Observe = func(TokenRequestEvent) {}
	}
	if o.Begin == nil {
		o.Begin = func(ctx context.Context, _, _ string) (context.Context, func(TokenRequestEvent)) {
			return ctx, func(TokenRequestEvent) {}
		}
	}
	return o
}

// TokenClient makes token requests, which follow no redirects and store no cookies. A request takes
// at most 10 seconds, and its answer may have at most 1 MiB. Each pair of URL and client has a budget
// of requests.
type TokenClient struct {
	options TokenClientOptions
	http    http.Client
	budget  *ratelimit.Limiter[string]

	unstored successors
}

// NewTokenClient returns a TokenClient with these options.
func NewTokenClient(options TokenClientOptions) *TokenClient {
	options = options.withDefaults()
	// Following a redirect would send the client secret to another address.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &TokenClient{
		options: options,
		http:    http.Client{Transport: options.Transport, CheckRedirect: stay},
		budget:  ratelimit.New[string](budgetPerSecond, budgetBurst, maxBudgets),
	}
}
