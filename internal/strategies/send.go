package strategies

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

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
		answer.first = first.ID
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
