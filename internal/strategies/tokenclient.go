package strategies

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/ratelimit"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

const (
	requestTimeout = token.MaxDelay
	maxAnswerSize  = 1 << 20 // size limit of an answer's body after decompression, in bytes

	// Each pair of URL and client ID has a budget of token requests: a burst at first, and then one
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
// at most 10 seconds, and its answer may have at most 1 MiB. Each pair of URL and client ID has a
// budget of requests.
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

// RequestToken obtains a token within 10 seconds, with one HTTP request in most cases. Another request
// may follow if the machine slept during the first request. RequestToken returns a *fault.Error, whose
// RetryDelay is the delay that the provider demanded. RequestToken calls Begin and Observe of the
// TokenClientOptions, unless the token is signed without a request.
func (s *TokenSource) RequestToken(ctx context.Context) (*token.Token, error) {
	issued, event := s.TryToken(ctx)
	if event.Err != nil {
		return nil, event.Err
	}
	return issued, nil
}

// TryToken does the same as RequestToken, but returns the whole outcome as an event, which
// contains, for example, the HTTP status. The token is nil if the event contains an error.
func (s *TokenSource) TryToken(ctx context.Context) (*token.Token, TokenRequestEvent) {
	options, sentAt := s.client.options, s.now()
	provider, method := s.Kind()
	event := TokenRequestEvent{Provider: provider, AuthMethod: method, TokenKey: s.key}
	if s.credential.Method.JWT != nil {
		var signed *token.Token
		signed, event.Err = s.signToken(sentAt)
		return signed, event
	}
	if wait := s.client.budget.Take(s.budgetKey, 1, sentAt); wait > 0 {
		event.Err = fault.New(fault.RateLimited,
			"too many token requests for one client of "+s.credential.Provider.DisplayName).WithRetryDelay(wait)
		options.Observe(event)
		return nil, event
	}
	ctx, done := options.Begin(ctx, provider, method)
	issued, answer, failure := s.obtain(ctx, sentAt)
	if now := s.now(); failure == nil && now.Sub(sentAt) > requestTimeout && !now.Before(issued.ExpireTime()) {
		// The machine slept during the request. The answer may be as old as the request, so the
		// token may have expired already.
		issued, answer, failure = s.obtain(ctx, now)
	}
	event.Duration, event.Err = s.now().Sub(sentAt), failure
	event.Status, event.OAuthError = answer.status, answer.code
	if failure == nil {
		event.LifetimeAssumed = !s.assumed.Swap(issued.Assumed) && issued.Assumed
	}
	done(event)
	options.Observe(event)
	return issued, event
}

func (s *TokenSource) now() time.Time { return s.client.options.Clock.Now() }

// signToken returns a token that the broker signs itself.
func (s *TokenSource) signToken(now time.Time) (*token.Token, *fault.Error) {
	definition := s.credential.Method.JWT
	text, problems := signJWT(definition, fieldValues(s.credential), clock.Wall(s.client.options.Clock, now))
	if problems != nil {
		return nil, fault.Opaque()
	}
	return &token.Token{
		Value: secret.New(text), RequestedAt: now, Lifetime: definition.Lifetime, Window: s.client.options.RenewalWindow,
	}, nil
}

// obtain requests a token. The returned answer is the last one, and is empty if none arrived.
func (s *TokenSource) obtain(ctx context.Context, sentAt time.Time) (*token.Token, *tokenAnswer, *fault.Error) {
	if s.credential.Method.ReplacesRefreshToken() {
		return s.refresh(ctx)
	}
	return s.send(ctx, sentAt, fieldValues(s.credential))
}

// send sends the requests for a token, with the given values of the fields. The returned answer is the
// last one, and is empty if none arrived.
func (s *TokenSource) send(
	ctx context.Context, sentAt time.Time, values map[string]string,
) (*token.Token, *tokenAnswer, *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	spec := s.credential.Method.TokenRequest
	for _, first := range spec.First {
		request, problems := s.makeRequest(ctx, &first.Request, values, nil)
		answer, failure := s.ask(request, problems)
		if failure != nil {
			return nil, answer, failure
		}
		found, failure := answer.values(first.Values)
		if failure != nil {
			return nil, answer, failure.WithRetryDelay(s.retryAfter(answer))
		}
		for name, value := range found {
			values[first.ID+"."+name] = value
		}
	}
	if spec.JWT != nil {
		text, problems := signJWT(spec.JWT, values, clock.Wall(s.client.options.Clock, s.now()))
		if problems != nil {
			return nil, &tokenAnswer{}, s.unusableValue(problems)
		}
		values[catalog.JWTVariable] = text
	}
	request, problems := s.makeTokenRequest(ctx, values)
	answer, failure := s.ask(request, problems)
	if failure != nil {
		return nil, answer, failure
	}
	answer.isLast = true
	issued, failure := s.read(answer, sentAt)
	if failure != nil {
		return nil, answer, failure.WithRetryDelay(s.retryAfter(answer))
	}
	return issued, answer, nil
}

// read returns the token in an answer that has just arrived.
func (s *TokenSource) read(answer *tokenAnswer, sentAt time.Time) (*token.Token, *fault.Error) {
	spec, receivedAt := s.credential.Method.TokenRequest, s.now()
	value, lifetime, failure := answer.token(&spec.Response, clock.Wall(s.client.options.Clock, receivedAt))
	if failure != nil {
		return nil, failure
	}
	values, failure := answer.values(spec.Response.Values)
	if failure != nil {
		return nil, failure
	}
	packed, err := pack(s.credential.Method, value, values)
	if err != nil {
		return nil, fault.Opaque()
	}
	issued := &token.Token{
		Value: secret.New(packed), RequestedAt: sentAt, Delay: max(0, receivedAt.Sub(sentAt)),
		Lifetime: cmp.Or(lifetime, spec.DefaultLifetime), Assumed: lifetime == 0,
		Window: s.client.options.RenewalWindow, EndsPrevious: spec.EndsPrevious,
	}
	if issued.Delay > token.MaxDelay {
		issued.Delay = 0 // the machine slept during the request, so the answer may be as old as the request
	}
	return issued, nil
}

// ask sends one request, whose values have the given problems, and returns the answer.
func (s *TokenSource) ask(request *http.Request, problems []ValueProblem) (*tokenAnswer, *fault.Error) {
	if problems != nil {
		return &tokenAnswer{}, s.unusableValue(problems)
	}
	response, err := s.client.http.Do(request)
	if err != nil {
		return &tokenAnswer{}, s.unreachable(err)
	}
	defer response.Body.Close()
	text, err := readBody(response)
	answer := readTokenAnswer(s.credential.Provider.DisplayName, response.StatusCode, response.Header, text,
		s.credential.Method.TokenRequest.Response.Refused)
	if err != nil && response.StatusCode/100 == 2 {
		return &tokenAnswer{status: response.StatusCode}, s.unreachable(err).WithRetryDelay(s.retryAfter(answer))
	}
	return answer, nil
}

// unusableValue returns the failure if a request cannot be made. The fields were checked before, so the
// reason is a value of an earlier answer.
func (s *TokenSource) unusableValue(problems []ValueProblem) *fault.Error {
	return fault.New(fault.ProviderUnavailable,
		s.credential.Provider.DisplayName+" answered with a value that cannot be used: "+problems[0].Message)
}

func (s *TokenSource) retryAfter(answer *tokenAnswer) time.Duration {
	return parseRetryAfter(answer.header, clock.Wall(s.client.options.Clock, s.now()))
}

// readBody returns at most one byte more than maxAnswerSize, and nothing if the body is cut off.
// After the status 101 (Switching Protocols), readBody reads nothing, because that body never ends.
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

func (s *TokenSource) unreachable(err error) *fault.Error {
	message := s.credential.Provider.DisplayName + " cannot be reached: " + egress.Cause(err)
	return fault.New(fault.ProviderUnavailable, message)
}
