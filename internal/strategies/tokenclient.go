package strategies

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/ratelimit"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

const (
	requestTimeout = token.MaxDelay
	maxAnswerSize  = 1 << 20 // bytes, after decompression

	// The budget of token requests for one URL and client ID: a burst at first, and then one
	// request a second. Providers block accounts that send too many requests, and most tokens
	// are valid for minutes or longer.
	budgetBurst     = 20
	budgetPerSecond = 1
	maxBudgets      = 100_000 // maximum number of budgets in memory
)

// TokenRequestEvent is the outcome of one token request, for logs and metrics.
type TokenRequestEvent struct {
	Provider   string // the provider's ID
	AuthMethod string // the method's ID
	TokenKey   string // the TokenSource's TokenKey; must not be shown
	Status     int    // the HTTP status; 0 if no answer arrived
	Duration   time.Duration
	// LifetimeAssumed reports that the token has the method's default lifetime, because
	// expires_in in the answer is missing or cannot be parsed. It is true only for the first
	// such token of a credential, and for the first such token after a token with a known
	// lifetime.
	LifetimeAssumed bool
	// Err is nil if a token was issued. Its reason is CredentialRejected, ProviderRateLimited or
	// ProviderUnavailable, depending on the answer. The reason RateLimited means that the
	// request was not sent, because the budget is used up. The message contains nothing secret.
	Err *fault.Error
}

// TokenClientOptions configure a TokenClient. The zero value is usable.
type TokenClientOptions struct {
	// Transport sends the requests. Default: an egress.Transport.
	Transport http.RoundTripper
	// Clock tells the time. Default: the machine's clock.
	Clock clockwork.Clock
	// UserAgent is the value of the header User-Agent. Default: no such header.
	UserAgent string
	// RenewalWindow is how long before a token's safety margin the renewal of the token may
	// begin. At most half the token's lifetime is used. Default: five minutes, and at most a
	// sixth of the lifetime.
	RenewalWindow time.Duration
	// Observe is called after each request, even if the budget did not allow the request to be
	// sent. Default: no call.
	Observe func(TokenRequestEvent)
	// Begin is called before each request that is sent. It returns a context for the request,
	// derived from ctx, and a function to call after the request. Default: no call.
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

// TokenClient makes token requests. It follows no redirects and stores no cookies. A request
// takes at most 10 seconds, and its answer has at most 1 MiB. Requests to each URL with each
// client ID have a budget.
type TokenClient struct {
	options TokenClientOptions
	http    http.Client
	budget  *ratelimit.Limiter[string]
}

// NewTokenClient returns a client.
func NewTokenClient(options TokenClientOptions) *TokenClient {
	options = options.withDefaults()
	// A redirect would send the client secret to another address.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &TokenClient{
		options: options,
		http:    http.Client{Transport: options.Transport, CheckRedirect: stay},
		budget:  ratelimit.New[string](budgetPerSecond, budgetBurst, maxBudgets),
	}
}

// RequestToken makes one token request: one HTTP attempt of at most 10 seconds. The error is a
// *fault.Error, whose RetryDelay is the delay that the provider asked for. RequestToken calls
// Begin and Observe.
func (s *TokenSource) RequestToken(ctx context.Context) (*token.Token, error) {
	options, sentAt := s.client.options, s.now()
	provider, method := s.Kind()
	event := TokenRequestEvent{Provider: provider, AuthMethod: method, TokenKey: s.key}
	if wait := s.client.budget.Take(s.budgetKey, 1, sentAt); wait > 0 {
		event.Err = fault.New(fault.RateLimited,
			"too many token requests for one client of "+s.credential.Provider.DisplayName).WithRetryDelay(wait)
		options.Observe(event)
		return nil, event.Err
	}
	ctx, done := options.Begin(ctx, provider, method)
	issued, status, failure := s.send(ctx, sentAt)
	if now := s.now(); failure == nil && now.Sub(sentAt) > requestTimeout && !now.Before(issued.ExpireTime()) {
		// The machine slept during the request, so the answer can be as old as the request, and
		// the token may have expired.
		issued, status, failure = s.send(ctx, now)
	}
	event.Duration, event.Status, event.Err = s.now().Sub(sentAt), status, failure
	if failure == nil {
		event.LifetimeAssumed = !s.assumed.Swap(issued.Assumed) && issued.Assumed
	}
	done(event)
	options.Observe(event)
	if failure != nil {
		return nil, failure
	}
	return issued, nil
}

func (s *TokenSource) now() time.Time { return s.client.options.Clock.Now() }

// send makes one HTTP request. It returns a token or a failure, and the HTTP status, which is 0
// if no answer arrived.
func (s *TokenSource) send(ctx context.Context, sentAt time.Time) (_ *token.Token, status int, _ *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := s.newRequest(ctx)
	if err != nil {
		return nil, 0, fault.Opaque()
	}
	response, err := s.client.http.Do(request)
	if err != nil {
		return nil, 0, s.unreachable(err)
	}
	defer response.Body.Close()
	body, err := readBody(response)
	receivedAt := s.now()
	retryAfter := parseRetryAfter(response.Header, clock.Wall(s.client.options.Clock, receivedAt))
	if err != nil && response.StatusCode/100 == 2 {
		return nil, response.StatusCode, s.unreachable(err).WithRetryDelay(retryAfter)
	}
	value, lifetime, failure := readTokenAnswer(s.credential.Provider.DisplayName, response.StatusCode, body).token()
	if failure != nil {
		return nil, response.StatusCode, failure.WithRetryDelay(retryAfter)
	}
	spec := s.credential.Method.TokenRequest
	issued := &token.Token{
		Value: secret.New(value), RequestedAt: sentAt, Delay: max(0, receivedAt.Sub(sentAt)),
		Lifetime: cmp.Or(lifetime, spec.DefaultLifetime), Assumed: lifetime == 0,
		Window: s.client.options.RenewalWindow, EndsPrevious: spec.EndsPrevious,
	}
	if issued.Delay > token.MaxDelay {
		issued.Delay = 0 // the machine slept during the request: the answer may be as old as the request
	}
	return issued, response.StatusCode, nil
}

// readBody returns the body of a response, up to one byte more than the maximum size. It returns
// no body if the body is cut off, or if the connection was switched to another protocol, because
// then the body never ends.
func readBody(response *http.Response) ([]byte, error) {
	if response.StatusCode/100 == 1 {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerSize+1))
	if err != nil {
		return nil, err
	}
	return body, nil
}

// unreachable returns the failure of a request that received no answer.
func (s *TokenSource) unreachable(err error) *fault.Error {
	message := s.credential.Provider.DisplayName + " cannot be reached: " + egress.Cause(err)
	return fault.New(fault.ProviderUnavailable, message)
}
