package strategies

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// Bounds of a token request.
const (
	requestTimeout = token.MaxDelay
	maxAnswerSize  = 1 << 20 // bytes, after decompression
)

// TokenRequestEvent is what came of one token request, for logs and metrics.
type TokenRequestEvent struct {
	Provider   string // the provider's ID
	AuthMethod string // the method's ID
	TokenKey   string // that of TokenStrategy; not to be shown
	Result     Result
	Status     int // the HTTP status; 0 when no answer came
	Duration   time.Duration
	// LifetimeAssumed reports that the token has the method's default lifetime, because
	// the answer's expires_in is missing or cannot be read. It is reported with the first
	// such token of a credential, and again after one whose lifetime was known.
	LifetimeAssumed bool
	// Err is nil for ResultOK. Its message holds nothing secret.
	Err *fault.Error
}

// Result sorts token requests.
type Result string

// The results.
const (
	ResultOK          Result = "ok"
	ResultRefused     Result = "refused"      // the credential is wrong
	ResultRateLimited Result = "rate_limited" // the provider's limit
	ResultUnavailable Result = "unavailable"  // no answer, or one that cannot be used
	ResultOverBudget  Result = "over_budget"  // not sent: the broker's own limit
)

// TokenClientOptions configure a TokenClient. The zero value is usable.
type TokenClientOptions struct {
	// Transport sends the requests. Default: an egress.Transport.
	Transport http.RoundTripper
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// UserAgent is sent along. Default: "authmaterial-broker".
	UserAgent string
	// RenewalWindow is how long before a token's margin its renewal may begin; at most
	// half the token's lifetime. Default: five minutes, and at most a sixth.
	RenewalWindow time.Duration
	// Observe is called after each request, sent or refused by the budget. Default:
	// nothing is.
	Observe func(TokenRequestEvent)
	// Begin is called before each request that is sent. It returns the request's context,
	// made from ctx, and what to call when it is done. Default: nothing is called.
	Begin func(ctx context.Context, provider, authMethod string) (context.Context, func(TokenRequestEvent))
}

func (o TokenClientOptions) withDefaults() TokenClientOptions {
	if o.Transport == nil {
		o.Transport = egress.NewTransport(egress.Options{})
	}
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.UserAgent == "" {
		o.UserAgent = "authmaterial-broker"
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

// TokenClient makes token requests: no redirects, no cookies, 10 seconds and 1 MiB at
// most, and within a budget for each URL and client.
type TokenClient struct {
	http      http.Client
	clock     clockwork.Clock
	userAgent string
	observe   func(TokenRequestEvent)
	begin     func(ctx context.Context, provider, authMethod string) (context.Context, func(TokenRequestEvent))
	budgets   budgets
	window    time.Duration
}

// NewTokenClient returns a client.
func NewTokenClient(options TokenClientOptions) *TokenClient {
	options = options.withDefaults()
	client := &TokenClient{
		http:      http.Client{Transport: options.Transport},
		clock:     options.Clock,
		userAgent: options.UserAgent,
		observe:   options.Observe,
		begin:     options.Begin,
		window:    options.RenewalWindow,
		budgets:   newBudgets(),
	}
	// A redirect would carry the client secret to wherever it points.
	client.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// request makes one token request, and tells the observer what came of it.
func (c *TokenClient) request(ctx context.Context, r tokenRequest) (*token.Token, error) {
	sentAt := c.clock.Now()
	event := TokenRequestEvent{Provider: r.provider.ID, AuthMethod: r.method.ID, TokenKey: r.key, Result: ResultOK}
	if wait := c.budgets.spend(r, sentAt); wait > 0 {
		event.Result = ResultOverBudget
		event.Err = fault.New(fault.RateLimited, "too many token requests for one client of "+r.provider.DisplayName).WithRetryDelay(wait)
		c.observe(event)
		return nil, event.Err
	}
	ctx, done := c.begin(ctx, event.Provider, event.AuthMethod)
	var issued *token.Token
	issued, event.Status, event.Err = c.send(ctx, r, sentAt)
	if began := c.clock.Now(); event.Err == nil && began.Sub(sentAt) > requestTimeout && !began.Before(issued.ExpireTime()) {
		// The machine slept meanwhile, and the token may have ended: the answer can be as old
		// as the request.
		issued, event.Status, event.Err = c.send(ctx, r, began)
	}
	event.Duration = c.clock.Since(sentAt)
	if event.Err != nil {
		event.Result = resultOf(event.Err)
	} else {
		event.LifetimeAssumed = !r.assumed.Swap(issued.Assumed) && issued.Assumed
	}
	done(event)
	c.observe(event)
	if event.Err != nil {
		return nil, event.Err
	}
	issued.Window = c.window
	return issued, nil
}

func resultOf(err *fault.Error) Result {
	switch err.Reason {
	case fault.CredentialRejected:
		return ResultRefused
	case fault.ProviderRateLimited:
		return ResultRateLimited
	default:
		return ResultUnavailable
	}
}

// send does the HTTP part. Errors of the HTTP client are described, never passed on:
// they quote URLs. The status is 0 when no answer came.
func (c *TokenClient) send(ctx context.Context, r tokenRequest, sentAt time.Time) (issued *token.Token, status int, failure *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, 0, fault.Opaque()
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, 0, unreachable(r.provider, err)
	}
	defer response.Body.Close()
	answer := tokenAnswer{provider: r.provider, status: response.StatusCode, header: response.Header, receivedAt: clock.WallNow(c.clock)}
	switch answer.status / 100 {
	case 1: // of a connection that was switched, the body never ends
	case 2:
		if answer.body, err = readBody(response); err != nil {
			return nil, answer.status, unreachable(r.provider, err).WithRetryDelay(answer.retryAfter())
		}
	default: // the status counts even if the body is cut off
		answer.body, _ = readBody(response)
	}
	issued, failure = answer.token(r.method.TokenRequest, sentAt, c.clock.Now())
	return issued, answer.status, failure
}

// readBody returns the whole body, or so much that it is seen to be too large. A body that
// is cut off is none.
func readBody(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerSize+1))
	if err != nil {
		return nil, err
	}
	return body, nil
}
