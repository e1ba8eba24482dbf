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
	maxAnswerSize  = 1 << 20 // size in bytes of an answer after decompression

	// The budget of token requests for each pair of URL and client ID. At first, a burst of
	// requests is allowed, and then one request a second. The budget is needed because providers
	// block accounts that send too many requests. The budget is large enough because most tokens
	// are valid for minutes or longer.
	budgetBurst     = 20
	budgetPerSecond = 1
	maxBudgets      = 100_000 // maximum number of budgets that are stored
)

// TokenRequestEvent describes the outcome of one token request. Logs and metrics use it.
type TokenRequestEvent struct {
	Provider   string // ID of the provider
	AuthMethod string // ID of the auth method
	TokenKey   string // token key of the TokenSource; never print or store it
	Status     int    // HTTP status of the answer; 0 if no answer arrived
	Duration   time.Duration
	// LifetimeAssumed reports that the token has the default lifetime of the auth method,
	// because the field expires_in of the answer is missing or cannot be parsed. If several
	// tokens of a credential in a row have the default lifetime, LifetimeAssumed is true only
	// for the first of them.
	LifetimeAssumed bool
	// Err is nil if a token was issued. Otherwise the answer determines the reason in Err:
	// CredentialRejected, ProviderRateLimited or ProviderUnavailable. One more reason is
	// RateLimited: the request was not sent, because its budget is used up. The message of Err
	// contains nothing secret.
	Err *fault.Error
}

// TokenClientOptions configure a TokenClient. The zero value is usable.
type TokenClientOptions struct {
	// Transport is the RoundTripper that sends the requests. Default: an egress.Transport.
	Transport http.RoundTripper
	// Clock tells the client the time. Default: the clock of the machine.
	Clock clockwork.Clock
	// UserAgent is the value of the header User-Agent. By default, the header is not sent.
	UserAgent string
	// RenewalWindow is the length of the time span in which the renewal of a token may begin.
	// The time span ends when the safety margin of the token begins. The time span is at most
	// half the token's lifetime. Default: five minutes, but at most a sixth of the lifetime.
	RenewalWindow time.Duration
	// Observe is called after each request. Observe is also called if the request was not sent
	// because the budget is used up. By default, nothing is called.
	Observe func(TokenRequestEvent)
	// Begin is called before a request is sent. Begin returns a context for the request, derived
	// from ctx, and a function that is called after the request. By default, nothing is called.
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

// TokenClient makes token requests. A TokenClient follows no redirects and stores no cookies. A
// request takes at most 10 seconds, and its answer may have at most 1 MiB. The TokenClient has a
// budget of requests for each pair of URL and client ID.
type TokenClient struct {
	options TokenClientOptions
	http    http.Client
	budget  *ratelimit.Limiter[string]
}

// NewTokenClient returns a TokenClient with these options.
func NewTokenClient(options TokenClientOptions) *TokenClient {
	options = options.withDefaults()
	// If the client followed a redirect, it would send the client secret to another address.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &TokenClient{
		options: options,
		http:    http.Client{Transport: options.Transport, CheckRedirect: stay},
		budget:  ratelimit.New[string](budgetPerSecond, budgetBurst, maxBudgets),
	}
}

// RequestToken requests a token by one HTTP request of at most 10 seconds. If the machine slept
// during the request, a second request may follow. The error is a *fault.Error, whose RetryDelay
// is the delay that the provider demanded. RequestToken calls the functions Begin and Observe of
// the TokenClientOptions.
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
		// The machine slept during the request. The answer may be as old as the request, so the
		// token may have expired already.
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

// send makes one HTTP request for a token. The method returns a token or a
// failure, and the HTTP status of the answer. The HTTP status is 0 if no answer arrived.
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
		issued.Delay = 0 // the machine slept during the request, so the answer may be as old as the request
	}
	return issued, response.StatusCode, nil
}

// readBody reads the body of a response. The function reads at most one byte more than the
// maximum size. The returned body is empty if the response's body is cut off. The returned body
// is also empty if the connection was switched to another protocol, because then the body never
// ends.
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

// unreachable returns the error of a token request that received no answer.
func (s *TokenSource) unreachable(err error) *fault.Error {
	message := s.credential.Provider.DisplayName + " cannot be reached: " + egress.Cause(err)
	return fault.New(fault.ProviderUnavailable, message)
}
