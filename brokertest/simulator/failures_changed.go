package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

const cookieName = "simulator-session"

const hugeBytes = 2 << 20

// ChangeField sets a field of the provider's JSON object, in answers with status 200. The Go
// value nil becomes the JSON value null. A [json.RawMessage] is sent unchanged; use it for
// numbers that Go cannot represent. ChangeField panics if the value has no JSON form.
func ChangeField(name string, value any) Failure {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("simulator: ChangeField(%q): %v", name, err))
	}
	return changedObject(func(object map[string]json.RawMessage) { object[name] = text })
}

// RemoveField removes a field from the provider's JSON object.
func RemoveField(name string) Failure {
	return changedObject(func(object map[string]json.RawMessage) { delete(object, name) })
}

// ExpiresIn sets expires_in, the lifetime in a token answer. The value can have any form: a
// string, a float, null, or a negative or absurd number. The token's real lifetime does not
// change. To send an answer without a lifetime, use RemoveField("expires_in").
func ExpiresIn(value any) Failure { return ChangeField("expires_in", value) }

// AccessToken replaces the token in a token answer, for example by null, "", a number, or a
// string that is not allowed in a header. No simulated API accepts the replacement. To send an
// answer without a token, use RemoveField("access_token").
func AccessToken(value any) Failure { return ChangeField("access_token", value) }

// ContentType sends the provider's answer with another content type. A JSON answer with the
// content type text/plain is still a valid answer.
func ContentType(value string) Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		genuine.with("Content-Type", value).ServeHTTP(w, r)
	})
}

// TruncateBody sends the first half of the provider's answer as if it were complete.
func TruncateBody() Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		genuine.body = genuine.body[:len(genuine.body)/2]
		genuine.ServeHTTP(w, r)
	})
}

// HugeBody adds a field of 2 MiB to the provider's JSON object. The answer stays valid JSON for
// clients that read all of it.
func HugeBody() Failure { return ChangeField("padding", strings.Repeat("x", hugeBytes)) }

// RetryAfter is a Failure whose answer is that of the given failure with a Retry-After header. If the
// given failure is nil, the provider's own answer gets the header. The value is a number of seconds ("30") or a date in
// [http.TimeFormat].
func RetryAfter(value string, failure Failure) Failure {
	return func(next http.Handler) http.Handler {
		answering := failure.wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", value)
			answering.ServeHTTP(w, r)
		})
	}
}

// SetCookie adds a cookie to the provider's answer. [Leaks] counts the requests that send the
// cookie back.
func SetCookie() Failure {
	cookie := http.Cookie{
		Name: cookieName, Value: randomHex(8), Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &cookie)
			next.ServeHTTP(w, r)
		})
	}
}

// changedObject returns a failure that edits the JSON object in a successful answer.
func changedObject(edit func(object map[string]json.RawMessage)) Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		object := make(map[string]json.RawMessage)
		if genuine.status == http.StatusOK && json.Unmarshal([]byte(genuine.body), &object) == nil {
			edit(object)
			text, _ := json.Marshal(object) // Marshal cannot fail, because every field of the object is valid JSON
			genuine.body = string(text)
		}
		genuine.ServeHTTP(w, r)
	})
}
