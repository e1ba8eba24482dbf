package strategies

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// Bounds of a token request.
const (
	requestTimeout = 10 * time.Second
	maxAnswerSize  = 1 << 20 // bytes, after decompression
)

// TokenRequestEvent is what came of one token request, for logs and metrics.
type TokenRequestEvent struct {
	Provider   string // the provider's ID
	AuthMethod string // the method's ID
	Result     Result
	Duration   time.Duration
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
	// Transport sends the requests. Default: a transport of its own, with the
	// standard proxy variables honoured.
	Transport http.RoundTripper
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// UserAgent is sent along. Default: "authmaterial-broker".
	UserAgent string
	// Observe is called after each request. Default: nothing is.
	Observe func(TokenRequestEvent)
}

// TokenClient makes token requests: no redirects, no cookies, 10 seconds and 1 MiB at
// most, and within a budget for each URL and client.
type TokenClient struct {
	http      http.Client
	clock     clockwork.Clock
	userAgent string
	observe   func(TokenRequestEvent)
	budgets   budgets
	digestKey []byte
}

// NewTokenClient returns a client.
func NewTokenClient(options TokenClientOptions) *TokenClient {
	client := &TokenClient{
		clock:     options.Clock,
		userAgent: options.UserAgent,
		observe:   options.Observe,
		digestKey: make([]byte, sha256.Size),
	}
	_, _ = rand.Read(client.digestKey) // it never fails: it ends the process first
	if client.clock == nil {
		client.clock = clockwork.NewRealClock()
	}
	if client.userAgent == "" {
		client.userAgent = "authmaterial-broker"
	}
	if client.observe == nil {
		client.observe = func(TokenRequestEvent) {}
	}
	client.http.Transport = options.Transport
	if client.http.Transport == nil {
		client.http.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	// A redirect would carry the client secret to wherever it points.
	client.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// tokenRequest is all that a token depends on.
type tokenRequest struct {
	provider     *catalog.Provider
	method       *catalog.AuthMethod
	clientID     secret.Text
	clientSecret secret.Text
	parameters   []Pair
	key          string
}

// digest names a request. Two that differ in anything have different names, and
// nobody can guess a secret from one.
func (c *TokenClient) digest(r tokenRequest) string {
	spec := r.method.TokenRequest
	sum := hmac.New(sha256.New, c.digestKey)
	for _, part := range []string{
		spec.URL, string(spec.Body), string(spec.ClientAuthentication), spec.DefaultLifetime.String(),
		fmt.Sprint(spec.EndsPrevious), r.clientID.Reveal(), r.clientSecret.Reveal(),
	} {
		writePart(sum, part)
	}
	for _, parameter := range r.parameters {
		writePart(sum, parameter.Name)
		writePart(sum, parameter.Value.Reveal())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// writePart writes text behind its length, so that no two lists of parts are alike.
func writePart(sum hash.Hash, text string) {
	_ = binary.Write(sum, binary.BigEndian, uint64(len(text)))
	_, _ = io.WriteString(sum, text)
}

// request makes one token request, and tells the observer what came of it.
func (c *TokenClient) request(ctx context.Context, r tokenRequest) (*token.Token, error) {
	sentAt := c.clock.Now()
	if wait := c.budgets.spend(r, sentAt); wait > 0 {
		err := fault.New(fault.RateLimited, "too many token requests for one client of "+r.provider.DisplayName).WithRetryDelay(wait)
		c.tell(r, sentAt, ResultOverBudget, err)
		return nil, err
	}
	issued, err := c.send(ctx, r, sentAt)
	if err != nil {
		c.tell(r, sentAt, resultOf(err), err)
		return nil, err
	}
	c.tell(r, sentAt, ResultOK, nil)
	return issued, nil
}

func (c *TokenClient) tell(r tokenRequest, sentAt time.Time, result Result, err *fault.Error) {
	c.observe(TokenRequestEvent{
		Provider:   r.provider.ID,
		AuthMethod: r.method.ID,
		Result:     result,
		Duration:   c.clock.Since(sentAt),
		Err:        err,
	})
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
// they quote URLs.
func (c *TokenClient) send(ctx context.Context, r tokenRequest, sentAt time.Time) (*token.Token, *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, fault.New(fault.Internal, "the token request cannot be made")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(r.provider, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerSize+1))
	if err != nil {
		return nil, unreachable(r.provider, err)
	}
	answer := tokenAnswer{provider: r.provider, status: response.StatusCode, header: response.Header, body: body}
	return answer.token(r.method.TokenRequest, sentAt, c.clock.Now())
}

// newRequest writes the request in the form that the provider wants.
func (c *TokenClient) newRequest(ctx context.Context, r tokenRequest) (*http.Request, error) {
	spec := r.method.TokenRequest
	parameters := map[string]string{"grant_type": "client_credentials"}
	if spec.ClientAuthentication == catalog.ClientInRequestBody {
		parameters[catalog.ClientIDField] = r.clientID.Reveal()
		parameters[catalog.ClientSecretField] = r.clientSecret.Reveal()
	}
	for _, parameter := range r.parameters {
		parameters[parameter.Name] = parameter.Value.Reveal()
	}
	body, contentType, err := encode(spec.Body, parameters)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, spec.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.userAgent)
	if spec.ClientAuthentication == catalog.ClientInBasic {
		// RFC 6749, section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(r.clientID.Reveal()), url.QueryEscape(r.clientSecret.Reveal()))
	}
	return request, nil
}

func encode(format catalog.BodyFormat, parameters map[string]string) (body []byte, contentType string, err error) {
	if format == catalog.BodyJSON {
		body, err = json.Marshal(parameters)
		return body, "application/json", err
	}
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, value)
	}
	return []byte(values.Encode()), "application/x-www-form-urlencoded", nil
}
