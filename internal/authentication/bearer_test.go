package authentication_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
)

// ParseBearer returns `malformed` in place of anything that is not a token.
const malformed = " "

func TestParseBearer(t *testing.T) {
	long := strings.Repeat("a", 8<<10)
	for _, test := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"Bearer abc"}, "abc"},
		{[]string{"bEARER abc"}, "abc"},
		{[]string{"Bearer   a.b-_~+/= "}, "a.b-_~+/="},
		{[]string{"Bearer " + long}, long},
		{[]string{"Basic YTpi"}, ""},
		{[]string{"Bearerabc"}, ""},
		{[]string{" Bearer abc"}, ""},
		{[]string{"Bearer"}, malformed},
		{[]string{"Bearer  "}, malformed},
		{[]string{"Bearer a b"}, malformed},
		{[]string{"Bearer a,b"}, malformed},
		{[]string{"Bearer é"}, malformed},
		{[]string{"Bearer a\n"}, malformed},
		{[]string{"Bearer \xff"}, malformed},
		{[]string{"Bearer " + long + "a"}, malformed},
		{[]string{"Bearer a", "Bearer a"}, malformed},
		{[]string{"Basic a", "Bearer a"}, malformed},
	} {
		if got := authentication.ParseBearer(test.values).Reveal(); got != test.want {
			t.Errorf("the token parsed from the headers %.40q is %.40q, want %.40q", test.values, got, test.want)
		}
	}
}

// FuzzBearer checks that the token that is parsed from a header is empty, `malformed`, or a part of
// the header without spaces. The token must never be printed, and no authenticator may panic or
// accept it.
func FuzzBearer(f *testing.F) {
	jwt, tokens := newJWT(f, fileIssuer("a", keyES)), authentication.NewStaticTokens()
	for _, seed := range []string{"Bearer a", "bearer  a", "Basic a", "Bearer " + mint(keyES, nil, nil), "Bearer " + authentication.GenerateToken().Reveal()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		bearer := authentication.ParseBearer([]string{value})
		if text := bearer.Reveal(); text != "" && text != malformed && (!strings.Contains(value, text) || strings.ContainsAny(text, " \t\r\n,") || len(text) > 8<<10) {
			t.Errorf("the token parsed from the header %q is %q", value, text)
		}
		if printed := fmt.Sprint(bearer); printed != "[REDACTED]" {
			t.Errorf("the secret token is printed as %q", printed)
		}
		evidence := authentication.Evidence{Bearer: bearer}
		if caller, err := tokens.Authenticate(t.Context(), evidence); err == nil {
			t.Errorf("the header %q identifies the caller %s", value, caller.Name)
		}
		if caller, err := jwt.Authenticate(t.Context(), evidence); err == nil && caller.Name != "jwt:a:alice" {
			t.Errorf("the header %q identifies the caller %s", value, caller.Name)
		}
	})
}
