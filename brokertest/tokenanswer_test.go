package brokertest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/logtest"
)

func logged() (brokertest.Option, *logtest.Log) {
	log := new(logtest.Log)
	return brokertest.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))), log
}

// TestTokenAnswersThatAreTokens checks the lifetime that the broker assumes for tokens in unusual
// provider answers.
func TestTokenAnswersThatAreTokens(t *testing.T) {
	const hour = time.Hour
	for name, test := range map[string]struct {
		answer   simulator.Failure
		lifetime time.Duration
	}{
		"JSON as text/plain":               {simulator.ContentType("text/plain"), hour},
		"JSON as text/html":                {simulator.ContentType("text/html"), hour},
		"with a cookie":                    {simulator.SetCookie(), hour},
		"expires_in missing":               {simulator.RemoveField("expires_in"), hour},
		"expires_in null":                  {simulator.ExpiresIn(nil), hour},
		"expires_in 0":                     {simulator.ExpiresIn(0), hour},
		"expires_in \"0\"":                 {simulator.ExpiresIn("0"), hour},
		"expires_in a string":              {simulator.ExpiresIn("1800"), hour / 2},
		"expires_in a string with a space": {simulator.ExpiresIn(" 1800 "), hour / 2},
		"expires_in a float":               {simulator.ExpiresIn(1800.5), hour/2 + 500*time.Millisecond},
		"expires_in a float in a string":   {simulator.ExpiresIn("1800.5"), hour/2 + 500*time.Millisecond},
		"expires_in with an exponent":      {simulator.ExpiresIn(json.RawMessage("1.8e3")), hour / 2},
		"expires_in in milliseconds":       {simulator.ExpiresIn(3600000), 7 * 24 * hour},
		"expires_in beyond any integer":    {simulator.ExpiresIn(json.RawMessage("1e999")), 7 * 24 * hour},
		"expires_in a day":                 {simulator.ExpiresIn(86400), 24 * hour},
		"expires_in a week":                {simulator.ExpiresIn(604800), 7 * 24 * hour},
		"expires_in a duration":            {simulator.ExpiresIn("PT1H"), hour},
		"expires_in empty":                 {simulator.ExpiresIn(""), hour},
		"expires_in false":                 {simulator.ExpiresIn(false), hour},
		"expires_in a word":                {simulator.ExpiresIn("soon"), hour},
		"expires_in infinite":              {simulator.ExpiresIn("Infinity"), hour},
		"expires_in hexadecimal":           {simulator.ExpiresIn("0x10"), hour},
		"expires_in an object":             {simulator.ExpiresIn(map[string]int{"seconds": 1}), hour},
		"expires_in a list":                {simulator.ExpiresIn([]int{}), hour},
		"a short life":                     {simulator.ExpiresIn(300), 5 * time.Minute},
		"token_type missing":               {simulator.RemoveField("token_type"), hour},
		"error null":                       {simulator.ChangeField("error", nil), hour},
		"a token with spaces":              {simulator.AccessToken("two words"), hour},
		"a token of 8 KB":                  {simulator.AccessToken(strings.Repeat("x", 8192)), hour},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clockwork.NewFakeClock()
			h := newHarness(t, brokertest.WithClock(clock))
			h.Simulator.SendPulse.FailNextTokenRequests(1, test.answer)
			got := h.get("sendpulse-oauth")
			margin := min(time.Minute, test.lifetime/10)
			if left := got.GetExpireTime().AsTime().Sub(clock.Now()); left != test.lifetime-margin {
				t.Errorf("the token may be used for %v, want %v", left, test.lifetime-margin)
			}
			if h.Simulator.Leaks() != (simulator.Leaks{}) {
				t.Errorf("the broker sent requests that it should not send: %+v", h.Simulator.Leaks())
			}
		})
	}
}

// TestAnswersWithoutAToken checks the errors that callers get if the provider's answer contains
// no usable token.
func TestAnswersWithoutAToken(t *testing.T) {
	const rejected, unavailable, limited = "CREDENTIAL_REJECTED", "PROVIDER_UNAVAILABLE", "PROVIDER_RATE_LIMITED"
	for name, test := range map[string]struct {
		answer  simulator.Failure
		reason  string
		message string
		retryIn time.Duration // shortest retry delay, to which the broker adds a random time of up to a quarter
	}{
		"401 invalid_client":             {simulator.OAuthError(401, "invalid_client"), rejected, "SendPulse refused the credential (HTTP 401, invalid_client)", 0},
		"400 invalid_scope":              {simulator.OAuthError(400, "invalid_scope"), rejected, "SendPulse refused the credential (HTTP 400, invalid_scope)", 0},
		"400 with an unregistered error": {simulator.OAuthError(400, "sesame_closed"), rejected, "SendPulse refused the credential (HTTP 400)", 0},
		"400 that repeats the request":   {simulator.EchoRequest(), rejected, "", 0},
		"401 without OAuth":              {simulator.AnswerWith(401, "application/json", `{"message":"Unauthorized!","error_code":401}`), rejected, "SendPulse refused the credential (HTTP 401)", 0},
		"403 with an OAuth error":        {simulator.OAuthError(403, "invalid_client"), rejected, "SendPulse refused the credential (HTTP 403, invalid_client)", 0},
		"200 with an OAuth error":        {simulator.OAuthError(200, "invalid_client"), rejected, "SendPulse refused the credential (HTTP 200, invalid_client)", 0},
		"500 with an OAuth error":        {simulator.OAuthError(500, "invalid_client"), rejected, "SendPulse refused the credential (HTTP 500, invalid_client)", 0},

		"403 HTML":                    {simulator.HTMLPage(403), unavailable, "SendPulse answered the token request with neither a token nor an OAuth error (HTTP 403)", time.Second},
		"404 HTML":                    {simulator.HTMLPage(404), unavailable, "SendPulse answered the token request with neither a token nor an OAuth error (HTTP 404)", time.Second},
		"421 HTML":                    {simulator.HTMLPage(421), unavailable, "", time.Second},
		"401 HTML":                    {simulator.HTMLPage(401), unavailable, "", time.Second},
		"401 without a body":          {simulator.AnswerWith(401, "", ""), unavailable, "", time.Second},
		"403 of SendPulse":            {simulator.SendPulseForbidden(), unavailable, "", time.Second},
		"407 of a proxy":              {simulator.OAuthError(407, "invalid_client"), unavailable, "SendPulse could not answer the token request (HTTP 407, invalid_client)", time.Second},
		"511 of a portal":             {simulator.HTMLPage(511), unavailable, "", time.Second},
		"502 with an OAuth error":     {simulator.OAuthError(502, "invalid_client"), unavailable, "", time.Second},
		"200 internal_error":          {simulator.ErrorInSuccess("internal_error"), unavailable, "SendPulse could not answer the token request (HTTP 200)", time.Second},
		"200 invalid_auth":            {simulator.ErrorInSuccess("invalid_auth"), unavailable, "SendPulse could not answer the token request (HTTP 200)", time.Second},
		"200 HTML with Retry-After":   {simulator.RetryAfter("40", simulator.HTMLPage(200)), unavailable, "", 40 * time.Second},
		"302 with Retry-After":        {simulator.RetryAfter("40", simulator.Redirect(302)), unavailable, "", 40 * time.Second},
		"404 HTML with Retry-After":   {simulator.RetryAfter("40", simulator.HTMLPage(404)), unavailable, "", 40 * time.Second},
		"403 rate_limit_exceeded":     {simulator.RetryAfter("40", simulator.OAuthError(403, "rate_limit_exceeded")), limited, "SendPulse answered that there are too many token requests (HTTP 403)", 40 * time.Second},
		"400 slow_down":               {simulator.OAuthError(400, "slow_down"), limited, "SendPulse answered that there are too many token requests (HTTP 400, slow_down)", time.Second},
		"200 temporarily_unavailable": {simulator.OAuthError(200, "temporarily_unavailable"), unavailable, "SendPulse could not answer the token request (HTTP 200, temporarily_unavailable)", time.Second},
		"400 server_error":            {simulator.OAuthError(400, "server_error"), unavailable, "SendPulse could not answer the token request (HTTP 400, server_error)", time.Second},
		"408":                         {simulator.AnswerWith(408, "", ""), unavailable, "SendPulse answered the token request with neither a token nor an OAuth error (HTTP 408)", time.Second},
		"500 HTML":                    {simulator.HTMLPage(500), unavailable, "SendPulse could not answer the token request (HTTP 500)", time.Second},
		"502 HTML":                    {simulator.HTMLPage(502), unavailable, "SendPulse could not answer the token request (HTTP 502)", time.Second},
		"500 with a word for error":   {simulator.OAuthError(500, "Internal Server Error"), unavailable, "SendPulse could not answer the token request (HTTP 500)", time.Second},
		"503 with Retry-After":        {simulator.ServiceUnavailable("30"), unavailable, "", 30 * time.Second},
		"503 with an absurd one":      {simulator.ServiceUnavailable("4000000000"), unavailable, "", 15 * time.Minute},
		"503 with a negative one":     {simulator.ServiceUnavailable("-5"), unavailable, "", time.Second},
		"503 with words":              {simulator.ServiceUnavailable("soon"), unavailable, "", time.Second},
		"429":                         {simulator.SendPulseRateLimited(), limited, "SendPulse answered that there are too many token requests (HTTP 429)", time.Second},
		"429 with Retry-After":        {simulator.TooManyRequests("90"), limited, "", 90 * time.Second},

		"200 with an empty body": {simulator.EmptyBody(), unavailable, "SendPulse answered the token request with an empty body (HTTP 200)", time.Second},
		"200 with HTML":          {simulator.HTMLPage(200), unavailable, "SendPulse answered the token request with a body that is not a JSON object (HTTP 200)", time.Second},
		"200 that is not JSON":   {simulator.NotJSON(), unavailable, "", time.Second},
		"200 with half a JSON":   {simulator.TruncateBody(), unavailable, "", time.Second},
		"200 with an array":      {simulator.AnswerWith(200, "application/json", "[]"), unavailable, "", time.Second},
		"2 MiB":                  {simulator.HugeBody(), unavailable, "SendPulse answered the token request with more than 1 MiB (HTTP 200)", time.Second},
		"token missing":          {simulator.RemoveField("access_token"), unavailable, "SendPulse answered the token request with no access_token (HTTP 200)", time.Second},
		"token null":             {simulator.AccessToken(nil), unavailable, "", time.Second},
		"token empty":            {simulator.AccessToken(""), unavailable, "", time.Second},
		"token a number":         {simulator.AccessToken(17), unavailable, "", time.Second},
		"token with a newline":   {simulator.AccessToken("a\nb"), unavailable, "SendPulse answered the token request with a value of access_token that no header can carry (HTTP 200)", time.Second},
		"token not ASCII":        {simulator.AccessToken("tökén"), unavailable, "", time.Second},
		"token of 65 KiB":        {simulator.AccessToken(strings.Repeat("x", 65<<10)), unavailable, "", time.Second},
		"expires_in negative":    {simulator.ExpiresIn(-1), unavailable, "SendPulse answered the token request with a negative expires_in (HTTP 200)", time.Second},

		"307 to another host": {simulator.Redirect(307), unavailable, "SendPulse answered the token request with a redirect, which is not followed (HTTP 307)", time.Second},
		"302 to another host": {simulator.Redirect(302), unavailable, "", time.Second},
		"connection closed":   {simulator.CloseConnection(), unavailable, "", time.Second},
		"cut in the middle":   {simulator.CutAnswer(), unavailable, "", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			option, log := logged()
			h := newHarness(t, option)
			h.Simulator.SendPulse.FailNextTokenRequests(1, test.answer)
			got, trailer := h.getError("sendpulse-oauth")
			code := codes.Unavailable
			if test.reason == rejected {
				code = codes.FailedPrecondition
			}
			h.wantError(got, code, test.reason)
			if test.message != "" && got.Message() != test.message {
				t.Errorf("the error's message is %q, want %q", got.Message(), test.message)
			}
			retry, pushback := detail[*errdetails.RetryInfo](got), trailer.Get("grpc-retry-pushback-ms")
			if test.retryIn == 0 {
				if retry != nil || pushback != nil {
					t.Error("the error of a rejected credential has a retry delay")
				}
			} else if wait := retry.GetRetryDelay().AsDuration(); wait < test.retryIn || wait > test.retryIn*5/4 || len(pushback) != 1 {
				t.Errorf("the retry delay is %v (retry push-back %v), want %v plus at most a quarter", wait, pushback, test.retryIn)
			} else if want := strconv.FormatInt((wait + time.Millisecond - 1).Milliseconds(), 10); pushback[0] != want {
				t.Errorf("the retry push-back is %s ms, want %s", pushback[0], want)
			}
			h.wantNoSecret("the error", got.String())
			h.wantNoSecret("the log", log.String())
			for _, word := range []string{"sesame", "invalid_auth", "<html", "client_secret"} {
				if strings.Contains(got.String()+log.String(), word) {
					t.Errorf("the error or the log contains the provider's answer: %q", word)
				}
			}
			if !strings.Contains(log.String(), "no token issued") {
				t.Error("the log does not mention the failed request")
			}
			if h.Simulator.Leaks() != (simulator.Leaks{}) {
				t.Errorf("the broker sent requests that it should not send: %+v", h.Simulator.Leaks())
			}
		})
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	h := newHarness(t)
	h.Simulator.SendPulse.FailNextTokenRequests(1, simulator.ServiceUnavailable(time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat)))
	got, _ := h.getError("sendpulse-oauth")
	h.wantError(got, codes.Unavailable, "PROVIDER_UNAVAILABLE")
	// HTTP dates have a resolution of a second, so the delay may differ by a second.
	if wait := detail[*errdetails.RetryInfo](got).GetRetryDelay().AsDuration(); wait < 118*time.Second || wait > 150*time.Second {
		t.Errorf("the retry delay is %v, want about 2m0s", wait)
	}
}

func TestUnreachableProvider(t *testing.T) {
	option, log := logged()
	h := newHarness(t, option)
	reconnect := h.Simulator.Disconnect()
	got, _ := h.getError("sendpulse-oauth")
	h.wantError(got, codes.Unavailable, "PROVIDER_UNAVAILABLE")
	if want := "SendPulse cannot be reached: the connection was refused"; got.Message() != want {
		t.Errorf("the error's message is %q, want %q", got.Message(), want)
	}
	h.wantNoSecret("the log", log.String())
	reconnect()
}

func TestHangingProviderAnswersBeforeTheDeadline(t *testing.T) {
	h := newHarness(t)
	h.Simulator.SendPulse.FailTokenRequests(simulator.Hang())
	for name, call := range map[string]func() error{
		"get":    func() error { return h.getWithin(3*time.Second, "sendpulse-oauth") },
		"report": func() error { return h.reportWithin(3*time.Second, "sendpulse-oauth") },
	} {
		t.Run(name, func(t *testing.T) {
			h := harness{T: t, Broker: h.Broker}
			h.wantStatus(untilAnswered(call), codes.Unavailable, "PROVIDER_UNAVAILABLE")
		})
	}
}

func TestClientSecretMayHoldAnyVisibleCharacter(t *testing.T) {
	// RFC 6749 allows client IDs and secrets with all visible ASCII characters and spaces.
	h := newHarness(t, brokertest.WithCredentials(brokertest.Credential{
		ID: "odd", Provider: "sendpulse", AuthMethod: "oauth2_client_credentials",
		Values: map[string]string{"client_id": "an id", "client_secret": `p&=+%"\ {}`},
	}))
	h.Simulator.SendPulse.AddClient(simulator.Client{ID: "an id", Secret: `p&=+%"\ {}`})
	if status := h.call("https://api.sendpulse.com/user/info", h.get("odd")); status != http.StatusOK {
		t.Errorf("the provider answers %d to a request with the token", status)
	}
}
