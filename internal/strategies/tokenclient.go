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

	// The budget of token requests for one URL and client ID: a burst, and then one a second.
	// Providers block accounts that ask too often, and most tokens live for minutes or longer.
	budgetBurst     = 20
	budgetPerSecond = 1
	maxBudgets      = 100_000 // remembered at once
)

// TokenRequestEvent is the outcome of one token request, for logs and metrics.
type TokenRequestEvent struct {
	Provider   string // the provider's ID
	AuthMethod string // the method's ID
	TokenKey   string // of the TokenSource; not to be shown
	Status     int    // the HTTP status; 0 when no answer came
	Duration   time.Duration
	// LifetimeAssumed reports that the token has the method's default lifetime, because the
	// answer's expires_in is missing or cannot be read. It is true for the first such token of a
	// credential, and for the first after one whose lifetime was known.
	LifetimeAssumed bool
	// Err is nil when a token was issued. Its reason is CredentialRejected, ProviderRateLimited or
	// ProviderUnavailable by the answer, or RateLimited for a request that the budget refused and
	// that was not sent. Its message contains nothing secret.
	Err *fault.Error
}

// TokenClientOptions configure a TokenClient. The zero value is usable.
type TokenClientOptions struct {
	// Transport sends the requests. Default: an egress.Transport.
	Transport http.RoundTripper
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// UserAgent is the header of that name. Default: none.
	UserAgent string
	// RenewalWindow is how long before a token's margin its renewal may begin; at most half the
	// token's lifetime. Default: five minutes, and at most a sixth.
	RenewalWindow time.Duration
	// Observe is called after each request, sent or refused by the budget. Default: no call.
	Observe func(TokenRequestEvent)
	// Begin is called before each request that is sent. It returns the request's context, made
	// from ctx, and a function to call after the request. Default: no call.
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

// TokenClient makes token requests: no redirects, no cookies, 10 seconds and 1 MiB at most, and
// within a budget for each URL and client ID.
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

// RequestToken makes one token request: one HTTP attempt, 10 seconds at most. Its error is a
// *fault.Error, whose RetryDelay is what the provider asked for. Begin and Observe are called.
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
		// The machine slept meanwhile, and the token may have ended: the answer can be as old
		// as the request.
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

// send makes one HTTP request. It returns a token or a failure, and the status of the answer, 0
// without an answer.
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
		issued.Delay = 0 // the machine slept meanwhile: the answer may be as old as the request
	}
	return issued, response.StatusCode, nil
}

// readBody returns the whole body, or so much of it that it is known to be too large. A body that
// is cut off counts as none, and so does that of a switched connection, which never ends.
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

// unreachable returns the failure of a request without an answer.
func (s *TokenSource) unreachable(err error) *fault.Error {
	message := s.credential.Provider.DisplayName + " cannot be reached: " + egress.Cause(err)
	return fault.New(fault.ProviderUnavailable, message)
}
