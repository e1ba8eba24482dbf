package simulator

import (
	"fmt"
	"net/http"
)

// AnswerWith answers with a status, a content type and a body. If the content type is empty,
// net/http detects it from the body.
func AnswerWith(status int, contentType, body string) Failure {
	fixed := answer{status: status, body: body}
	if contentType != "" {
		fixed = textAnswer(status, contentType, body)
	}
	return always(fixed)
}

// HTMLPage answers with an HTML page, as a gateway, a firewall or a captive portal in front of the
// provider does. The pages of gateways have a status like 403, 404, 502 or 511, or a misleading
// 200.
func HTMLPage(status int) Failure {
	return AnswerWith(status, "text/html; charset=utf-8", fmt.Sprintf(
		"<!doctype html>\n<title>%[1]d</title>\n<h1>%[1]d %[2]s</h1>\n", status, http.StatusText(status)))
}

// EmptyBody answers with status 200 and an empty body.
func EmptyBody() Failure { return always(answer{status: http.StatusOK}) }

// NotJSON answers with status 200 and plain text, but declares the text as JSON.
func NotJSON() Failure { return AnswerWith(http.StatusOK, "application/json", "access granted") }

// OAuthError answers with an OAuth 2.0 error body (RFC 6749 §5.2). Usually the body has a code
// such as invalid_client, and the status is 400 or 401. Some providers send an error body with
// status 200, and others with 403, 408 or 5xx.
func OAuthError(status int, code string) Failure {
	return always(oauthError(status, code, "Simulated."))
}

// ErrorInSuccess answers with status 200 and a body that reports a failure, as Slack's API does:
// {"ok":false,"error":code}.
func ErrorInSuccess(code string) Failure {
	return always(jsonAnswer(http.StatusOK, fields{"ok": false, "error": code}))
}

// ServiceUnavailable answers with status 503 and, unless retryAfter is empty, a Retry-After
// header: a number of seconds ("30") or a date in [http.TimeFormat].
func ServiceUnavailable(retryAfter string) Failure {
	return always(retryLater(http.StatusServiceUnavailable, retryAfter))
}

// TooManyRequests answers with status 429 and a Retry-After header as in [ServiceUnavailable].
func TooManyRequests(retryAfter string) Failure {
	return always(retryLater(http.StatusTooManyRequests, retryAfter))
}

func retryLater(status int, retryAfter string) answer {
	later := textAnswer(status, "text/plain; charset=utf-8", http.StatusText(status)+"\n")
	if retryAfter != "" {
		later = later.with("Retry-After", retryAfter)
	}
	return later
}

// Redirect answers with a 3xx status that redirects to [RedirectHost], which answers every
// request with a token that no API accepts. [Leaks] counts the requests that follow the redirect.
// After status 307 or 308, such requests contain the original body again.
func Redirect(status int) Failure {
	location := "https://" + RedirectHost + "/oauth/token?" + redirectMark + "=1"
	return always(answer{status: status}.with("Location", location))
}

func redirectTarget() http.Handler {
	return jsonAnswer(http.StatusOK, fields{
		"access_token": "token-from-where-a-redirect-led", "token_type": "Bearer", "expires_in": 3600,
	})
}

// EchoRequest answers with status 400 and an OAuth error body that repeats parts of the request:
// the Authorization header, the user and password in it, and the request's body, including the
// client secret. With EchoRequest, a test can check whether a client logs the bodies of error
// answers.
func EchoRequest() Failure {
	return instead(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		description := fmt.Sprintf("cannot read this request: %s %s:%s %s",
			r.Header.Get("Authorization"), user, password, peekBody(r))
		oauthError(http.StatusBadRequest, "invalid_request", description).ServeHTTP(w, r)
	})
}

func always(fixed answer) Failure { return instead(fixed.ServeHTTP) }

func oauthError(status int, code, description string) answer {
	return jsonAnswer(status, fields{"error": code, "error_description": description})
}
