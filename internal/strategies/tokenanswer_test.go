package strategies_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/clock/clocktest"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// Each list has examples of one kind of response body.
var (
	foreign = []string{
		"<!doctype html><h1>Forbidden</h1>", "Forbidden", "", " ", "null", "[]", `"invalid_client"`, `[{"error":"invalid_client"}]`,
		`{"error":"invalid_client"`, `error=invalid_client`,
	}
	plain     = []string{`{"message":"Unauthorized!","error_code":401}`, `{"message":"Forbidden"}`, `{}`, `{"error":null}`, `{"error":""}`}
	refusing  = []string{`{"error":"invalid_client","error_description":"Client authentication failed"}`, `{"error":"invalid_scope"}`, "\ufeff" + `{"error":"access_denied"}`}
	passing   = []string{`{"error":"temporarily_unavailable"}`, `{"error":"server_error"}`, `{"error":"internal_error"}`, `{"ok":false,"error":"service_unavailable"}`}
	limiting  = []string{`{"error":"rate_limit_exceeded"}`, `{"error":"slow_down"}`, `{"ok":false,"error":"ratelimited"}`}
	unlisted  = []string{`{"error":"sesame_closed"}`, `{"error":{"code":401}}`, `{"error":true}`, `{"error":"Invalid_Client"}`}
	withToken = []string{`{"access_token":"t","expires_in":3600}`}
)

// TestAnswerTable checks the outcome of a token request for each HTTP status and each kind of
// response body. docs/adr/0018-refused-credentials.md defines the expected outcomes.
func TestAnswerTable(t *testing.T) {
	bodies := map[string][]string{
		"foreign": foreign, "plain": plain, "refusing": refusing, "passing": passing,
		"limiting": limiting, "unlisted": unlisted, "token": withToken,
	}
	ask := asking(t)
	for status := 100; status < 600; status++ {
		for kind, of := range bodies {
			want := expected(status, kind)
			for _, body := range of {
				if got := outcome(ask(status, nil, body)); got != want {
					t.Errorf("an answer with status %d and the body %.60q (%s) has the outcome %s, want %s", status, body, kind, got, want)
				}
			}
		}
	}
}

func expected(status int, kind string) string {
	const refused, limited, unavailable = "CREDENTIAL_REJECTED", "PROVIDER_RATE_LIMITED", "PROVIDER_UNAVAILABLE"
	fromEndpoint := status/100 == 2 || status/100 == 4 || status/100 == 5
	switch {
	case status == 429:
		return limited
	case !fromEndpoint, slices.Contains([]int{407, 421, 502, 504, 511}, status):
		return unavailable
	case kind == "limiting":
		return limited
	case slices.Contains([]int{408, 425, 503}, status):
		return unavailable
	case kind == "token" && status/100 == 2:
		return "a token"
	case kind == "refusing":
		return refused
	case (status == 400 || status == 401) && (kind == "plain" || kind == "unlisted" || kind == "token"):
		return refused
	default:
		return unavailable
	}
}

func outcome(err error) string {
	if err == nil {
		return "a token"
	}
	return string(fault.From(err).Reason)
}

type endpoint struct {
	status int
	header http.Header
	body   string
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: e.status, Header: e.header, Body: io.NopCloser(strings.NewReader(e.body)), Request: r}, nil
}

// `asking` returns a function that makes a token request and returns its error. The function's
// parameters describe the token endpoint's answer.
func asking(t *testing.T) func(status int, header http.Header, body string) error {
	t.Helper()
	at := &endpoint{}
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	tokens := newTokens(t, sendPulse("id", "secret"), strategies.NewTokenClient(strategies.TokenClientOptions{Clock: clock, Transport: at}))
	return func(status int, header http.Header, body string) error {
		*at = endpoint{status, header, body}
		defer clock.Advance(time.Second) // the budget allows one token request per second
		_, err := tokens.RequestToken(t.Context())
		return err
	}
}

func TestRetryAfterCountsWithAnyStatus(t *testing.T) {
	ask := asking(t)
	for status := 100; status < 600; status++ {
		for _, body := range []string{foreign[0], plain[0], refusing[0], passing[0], limiting[0], unlisted[0]} {
			for retryAfter, want := range map[string]time.Duration{
				"90": 90 * time.Second, "99999999999": 15 * time.Minute, "soon": 0, "-5": 0,
			} {
				err := ask(status, http.Header{"Retry-After": {retryAfter}}, body)
				if err == nil {
					t.Fatalf("an answer with status %d and the body %.60q was accepted as a token", status, body)
				}
				if got := fault.From(err).RetryDelay; got != want {
					t.Fatalf("an answer with status %d, the body %.60q and Retry-After %q leads to a retry delay of %v, want %v", status, body, retryAfter, got, want)
				}
			}
		}
	}
}

// TestRetryAfterAsADate checks dates in Retry-After from a provider with a correct clock, and from
// a provider whose clock is an hour slow.
func TestRetryAfterAsADate(t *testing.T) {
	ask := asking(t)
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for name, header := range map[string]http.Header{
		"without a Date": {"Retry-After": {now.Add(time.Hour).Format(http.TimeFormat)}},
		"with a Date": {
			"Date":        {now.Add(-time.Hour).Format(http.TimeFormat)},
			"Retry-After": {now.Add(-time.Hour + time.Minute).Format(http.TimeFormat)},
		},
	} {
		want := map[string]time.Duration{"without a Date": 15 * time.Minute, "with a Date": time.Minute}[name]
		if got := fault.From(ask(403, header, "<html>")).RetryDelay; got != want {
			t.Errorf("%s: the retry delay is %v, want %v", name, got, want)
		}
	}
}

// TestRetryAfterAfterACorrection checks that a date in Retry-After is compared with the wall clock
// after the wall clock was set back, and not with the clock for lifetimes, which is never set back.
func TestRetryAfterAfterACorrection(t *testing.T) {
	machine := clocktest.NewMachine()
	counting := machine.Clock()
	machine.Correct(-2 * time.Hour)
	at := &endpoint{403, http.Header{"Retry-After": {machine.WallTime().Add(time.Minute).UTC().Format(http.TimeFormat)}}, "<html>"}
	tokens := newTokens(t, sendPulse("id", "secret"), strategies.NewTokenClient(strategies.TokenClientOptions{Clock: counting, Transport: at}))
	_, err := tokens.RequestToken(t.Context())
	if err == nil {
		t.Fatal("an HTML page was accepted as a token")
	}
	if got := fault.From(err).RetryDelay; got < 50*time.Second || got > time.Minute {
		t.Errorf("the retry delay is %v, want 1m minus the duration of the test", got)
	}
}

// TestAnswerThatIsTooLarge checks that an OAuth error at the beginning of a body of more than 1 MiB
// does not count as a rejection of the credential.
func TestAnswerThatIsTooLarge(t *testing.T) {
	if got := outcome(asking(t)(401, nil, `{"error":"invalid_client"}`+strings.Repeat(" ", 1<<20))); got != "PROVIDER_UNAVAILABLE" {
		t.Errorf("the outcome is %s", got)
	}
}

// `endless` is a body that never ends, because the connection was switched to another protocol.
type endless struct{ *testing.T }

func (e endless) Read([]byte) (int, error) {
	e.Error("a body that never ends was read")
	return 0, io.EOF
}

func (endless) Close() error { return nil }

type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (broken) Close() error { return nil }

// TestAnswersWithoutAWholeBody checks answers whose body is cut off after an OAuth error. The OAuth
// error must be ignored, but the HTTP status and the header Retry-After must be used.
func TestAnswersWithoutAWholeBody(t *testing.T) {
	for status, want := range map[int]string{
		101: "PROVIDER_UNAVAILABLE", 200: "PROVIDER_UNAVAILABLE", 401: "PROVIDER_UNAVAILABLE", 429: "PROVIDER_RATE_LIMITED",
	} {
		client := strategies.NewTokenClient(strategies.TokenClientOptions{
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				body := io.ReadCloser(broken{strings.NewReader(`{"error":"invalid_client"}`)})
				if status == 101 {
					body = endless{t}
				}
				return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"7"}}, Body: body, Request: r}, nil
			}),
		})
		_, err := newTokens(t, sendPulse("id", "secret"), client).RequestToken(t.Context())
		if got := fault.From(err); outcome(err) != want || got.RetryDelay != 7*time.Second {
			t.Errorf("status %d: the outcome is %v and the retry delay is %v, want %s and 7s", status, outcome(err), got.RetryDelay, want)
		}
	}
}

// TestLifetimeThatCannotBeRead checks that a token without a valid lifetime gets the default
// lifetime of the auth method. If several tokens in a row have no valid lifetime, only the first is
// reported.
func TestLifetimeThatCannotBeRead(t *testing.T) {
	expiresIn := ""
	var events []strategies.TokenRequestEvent
	client := strategies.NewTokenClient(strategies.TokenClientOptions{
		Observe: func(event strategies.TokenRequestEvent) { events = append(events, event) },
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			return answering(fmt.Appendf(nil, `{"access_token":"t"%s}`, expiresIn))(r)
		}),
	})
	tokens := newTokens(t, sendPulse("id", "secret"), client)
	for _, step := range []struct {
		value    string
		assumed  bool
		reported bool
	}{
		{`"PT1H"`, true, true}, {`""`, true, false}, {`false`, true, false}, {`{}`, true, false}, {`[]`, true, false},
		{`"abc"`, true, false}, {`null`, true, false}, {`0`, true, false}, {`true`, true, false}, {`"0x10"`, true, false},
		{`60`, false, false}, {`"Infinity"`, true, true}, {`"60.5"`, false, false}, {``, true, true}, {``, true, false},
	} {
		if expiresIn = ""; step.value != "" {
			expiresIn = `,"expires_in":` + step.value
		}
		issued, err := tokens.RequestToken(t.Context())
		if err != nil {
			t.Errorf("expires_in %s: %v", step.value, err)
			continue
		}
		if issued.Assumed != step.assumed || step.assumed != (issued.Lifetime == time.Hour) {
			t.Errorf("expires_in %s: the token has a lifetime of %v (assumed: %v)", step.value, issued.Lifetime, issued.Assumed)
		}
		if got := events[len(events)-1].LifetimeAssumed; got != step.reported {
			t.Errorf("expires_in %s: the assumed lifetime is reported: %v, want %v", step.value, got, step.reported)
		}
	}
}
