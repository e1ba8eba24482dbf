package strategies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// leaseLife is longer than a token request with the calls of the store before and after it.
	leaseLife = 20 * time.Second
	// leaseMargin is the part of a lease in which no token request is made any more.
	leaseMargin   = 3 * time.Second
	leasePatience = 5 * time.Second // how long a refresh waits for the lease of another one
	leaseInterval = 100 * time.Millisecond

	// storePatience is how long a refresh tries to store a refresh token. Later attempts follow.
	storePatience = 5 * time.Second
	storeInterval = 100 * time.Millisecond
)

var (
	errNoStore  = fault.New(fault.StoreUnavailable, "the refresh token of this credential needs a credential store, which the broker does not have")
	errLeased   = fault.New(fault.ProviderUnavailable, "another replica is using the refresh token of this credential").WithRetryDelay(time.Second)
	errReplaced = fault.New(fault.ProviderUnavailable, "another replica replaced the refresh token of this credential").WithRetryDelay(time.Second)
)

func (s *TokenSource) refreshChain() RefreshChain {
	return RefreshChain{s.credential.ID, s.credential.Values[catalog.RefreshTokenField], s.recipient()}
}

// recipient returns an encoding of the values that determine where refresh tokens are sent.
func (s *TokenSource) recipient() string {
	recipient := map[string]string{}
	for _, field := range s.credential.Method.FieldsInURLs() {
		recipient[field] = s.value(field)
	}
	var hosts []string // to which a URL from an answer may lead
	spec := s.credential.Method.TokenRequest
	isFromAnswer := func(first catalog.FirstRequest) bool { return first.URL.IsFromAnswer() }
	if spec.URL.IsFromAnswer() || slices.ContainsFunc(spec.First, isFromAnswer) {
		hosts = slices.Sorted(slices.Values(s.credential.AllowedHosts))
	}
	data, _ := json.Marshal([]any{recipient, hosts}) // texts can always be encoded
	return string(data)
}

// refresh obtains a token with the current refresh token. If the answer has a new refresh token, refresh
// returns the token only after the new refresh token was stored.
func (s *TokenSource) refresh(ctx context.Context) (*token.Token, *tokenAnswer, *fault.Error) {
	if s.client.options.RefreshTokens == nil {
		return nil, &tokenAnswer{}, errNoStore
	}
	if u := s.client.unstored.get(s.refreshChain()); u != nil {
		if failure := s.client.storeSuccessor(ctx, u); failure != nil {
			return nil, &tokenAnswer{}, failure
		}
		if u.key == s.key && u.issued != nil && s.now().Before(u.issued.ExpireTime()) {
			return u.issued, &tokenAnswer{}, nil
		}
	}
	lease, left, failure := s.lease(ctx)
	if failure != nil {
		return nil, &tokenAnswer{}, failure
	}
	// From here on, the caller cannot cancel the refresh, because the provider may accept only the
	// refresh token of the answer.
	ctx = context.WithoutCancel(ctx)
	limited, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	values := fieldValues(s.credential)
	values[catalog.RefreshTokenField] = lease.Token().Reveal()
	issued, answer, failure := s.send(limited, s.now(), values)
	if successor, found := s.successor(answer); found && !successor.Equal(lease.Token()) {
		u := &successorToStore{chain: s.refreshChain(), lease: lease, value: successor, issued: issued, key: s.key}
		if unstored := s.client.storeSuccessor(ctx, u); unstored != nil {
			return nil, answer, unstored
		}
		return issued, answer, failure
	}
	return issued, answer, s.release(ctx, lease, answer, failure)
}

// successor returns the refresh token in an answer. A boolean, such as false, or the number 0 is no
// refresh token.
func (s *TokenSource) successor(answer *tokenAnswer) (secret.Text, bool) {
	location := *s.credential.Method.TokenRequest.Response.RefreshToken
	if !answer.isLast || answer.failure(location) != nil {
		return secret.Text{}, false
	}
	member, _ := location.Path.Find(answer.body)
	if _, isBool := member.(bool); location.Path != nil && (isBool || isEmpty(member)) {
		return secret.Text{}, false
	}
	value, found := location.Find(answer.header, answer.text, answer.body)
	return secret.New(value), found
}

// lease leases the current refresh token, and returns how long it may be used.
func (s *TokenSource) lease(ctx context.Context) (lease RefreshLease, left time.Duration, failure *fault.Error) {
	waiting := clock.ForWaiting(s.client.options.Clock)
	timeout := waiting.After(leasePatience)
	for {
		began := waiting.Now()
		// A cancelled call could take the lease without returning it.
		lease, wait, err := s.client.options.RefreshTokens.Lease(context.WithoutCancel(ctx), s.refreshChain(), leaseLife)
		if err != nil {
			return nil, 0, fault.From(err)
		}
		if lease != nil {
			return lease, leaseLife - leaseMargin - waiting.Since(began), nil
		}
		select {
		case <-waiting.After(min(wait, leaseInterval)):
		case <-timeout:
			return nil, 0, errLeased
		case <-ctx.Done():
			return nil, 0, errLeased
		}
	}
}

// release ends the lease of a refresh token without a successor, and returns the failure for callers.
func (s *TokenSource) release(ctx context.Context, lease RefreshLease, answer *tokenAnswer, failure *fault.Error) *fault.Error {
	switch {
	case failure == nil:
		_ = lease.Release(ctx, false) // if the lease cannot be released, it ends by itself
		return nil
	case failure.Reason != fault.CredentialRejected:
		_ = lease.Release(ctx, true) // the provider may have replaced the refresh token before it failed
		return failure
	}
	if err := lease.Release(ctx, lease.Interrupted()); errors.Is(err, ErrSuperseded) {
		return errReplaced
	}
	return explainRefusal(answer, lease.Interrupted(), failure)
}

// explainRefusal adds to the refusal of a refresh token what people have to do.
func explainRefusal(answer *tokenAnswer, interrupted bool, failure *fault.Error) *fault.Error {
	switch answer.code {
	case "invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope":
		return failure // RFC 6749, section 5.2: the reason is not the refresh token
	}
	what := "obtain a new refresh token and rotate the credential"
	if interrupted {
		what = "the refresh token was used by a refresh that was interrupted: obtain a new one and rotate the credential"
	}
	return fault.New(failure.Reason, fmt.Sprintf("%s: %s", failure.Message, what)).WithRetryDelay(failure.RetryDelay)
}
