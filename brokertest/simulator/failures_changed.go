package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// cookieName is the cookie of SetCookie.
const cookieName = "simulator-session"

// hugeBytes is by how much HugeBody makes an answer longer.
const hugeBytes = 2 << 20

// ChangeField sets a field of the provider's JSON object. nil is null; a
// [json.RawMessage] goes out as it is, for numbers that Go cannot hold. It leaves
// answers other than 200 alone. ChangeField panics if value has no JSON form.
func ChangeField(name string, value any) Failure {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("simulator: ChangeField(%q): %v", name, err))
	}
	return changedObject(func(object map[string]json.RawMessage) { object[name] = text })
}

// RemoveField leaves a field of the provider's JSON object out.
func RemoveField(name string) Failure {
	return changedObject(func(object map[string]json.RawMessage) { delete(object, name) })
}

// ExpiresIn has a token answer name a lifetime of its own, in whatever form: a string,
// a float, null, something negative or absurd. The token lives on as it would have.
// For an answer without one: RemoveField("expires_in").
func ExpiresIn(value any) Failure { return ChangeField("expires_in", value) }

// AccessToken has a token answer hold value in the token's place: null, "", a number,
// or a string that cannot be a header. No API accepts it. For an answer without one:
// RemoveField("access_token").
func AccessToken(value any) Failure { return ChangeField("access_token", value) }

// ContentType sends the provider's answer under another content type. JSON as
// text/plain is still an answer.
func ContentType(value string) Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		genuine.with("Content-Type", value).ServeHTTP(w, r)
	})
}

// TruncateBody sends the first half of the provider's answer as if it were all.
func TruncateBody() Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		genuine.body = genuine.body[:len(genuine.body)/2]
		genuine.ServeHTTP(w, r)
	})
}

// HugeBody makes the provider's JSON object 2 MiB longer, by one more field. It stays
// a good answer to those who read it all.
func HugeBody() Failure { return ChangeField("padding", strings.Repeat("x", hugeBytes)) }

// RetryAfter sends another failure's answer, or the provider's own where that is nil, with
// a Retry-After header: seconds ("30") or a date in [http.TimeFormat].
func RetryAfter(value string, failure Failure) Failure {
	return func(next http.Handler) http.Handler {
		answering := failure.wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", value)
			answering.ServeHTTP(w, r)
		})
	}
}

// SetCookie sends a cookie with the provider's answer. [Leaks] counts the requests
// that bring it back.
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

// changedObject is a failure that edits the JSON object of a good answer.
func changedObject(edit func(object map[string]json.RawMessage)) Failure {
	return changed(func(w http.ResponseWriter, r *http.Request, genuine answer) {
		object := make(map[string]json.RawMessage)
		if genuine.status == http.StatusOK && json.Unmarshal([]byte(genuine.body), &object) == nil {
			edit(object)
			text, _ := json.Marshal(object) // all parts are JSON
			genuine.body = string(text)
		}
		genuine.ServeHTTP(w, r)
	})
}
