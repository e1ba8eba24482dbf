package leaktest_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/leaktest"
)

// TestSearch searches a text for a secret in every encoding in which the secret may appear.
func TestSearch(t *testing.T) {
	secret := leaktest.Canary()
	quotedJSON := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	inURL := fmt.Sprintf("Post %q: EOF", "https://api.example.test/?secret="+url.QueryEscape(secret))
	var asXML, asText, asLog bytes.Buffer
	if err := xml.EscapeText(&asXML, []byte(secret)); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&asText, nil)).Info("x", "error", inURL)
	slog.New(slog.NewJSONHandler(&asLog, nil)).Info("x", "error", fmt.Sprintf("%q", inURL))
	for name, text := range map[string]string{
		"raw":                    secret,
		"lower case":             strings.ToLower(secret),
		"first part":             secret[:24],
		"middle":                 secret[10:38],
		"last part":              secret[24:],
		"base64 at 0":            base64.StdEncoding.EncodeToString([]byte("abc" + secret + "a")),
		"base64 at 1":            base64.StdEncoding.EncodeToString([]byte("a" + secret + "abc")),
		"base64 at 2":            base64.StdEncoding.EncodeToString([]byte("ab" + secret)),
		"base64url at 0":         base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64url at 1":         base64.RawURLEncoding.EncodeToString([]byte("a" + secret + "ab")),
		"base64url at 2":         base64.RawURLEncoding.EncodeToString([]byte("ab" + secret + "a")),
		"hexadecimal":            hex.EncodeToString([]byte(secret)),
		"%X":                     fmt.Sprintf("%X", secret),
		"bytes by fmt":           fmt.Sprintf("%d", []byte(secret)),
		"bytes by JSON":          strings.ReplaceAll(fmt.Sprintf("%d", []byte(secret)), " ", ","),
		"bytes in JSON":          quotedJSON([]byte(secret)),
		"percent-encoded path":   url.PathEscape(secret),
		"percent-encoded query":  url.QueryEscape(secret),
		"percent, lower case":    strings.ToLower(url.QueryEscape(secret)),
		"HTTP Basic":             base64.StdEncoding.EncodeToString([]byte("id:" + url.QueryEscape(secret))),
		"JSON":                   quotedJSON(secret),
		"JSON in JSON":           quotedJSON(quotedJSON(secret)),
		"JSON with \\/":          strings.ReplaceAll(quotedJSON(secret), "/", `\/`),
		"%q":                     fmt.Sprintf("%q", secret),
		"%+q twice":              fmt.Sprintf("%+q", fmt.Sprintf("%+q", secret)),
		"XML":                    asXML.String(),
		"an url.Error":           inURL,
		"an url.Error in a log":  asText.String(),
		"a quoted one in a JSON": asLog.String(),
	} {
		var finder leaktest.Finder
		finder.Add("the key", secret)
		finder.Add("the key's HTTP Basic password", url.QueryEscape(secret))
		found := finder.Search("a text", []byte("before "+text+" after"))
		if len(found) == 0 {
			t.Errorf("%s: not found", name)
			continue
		}
		if said := found[0].String(); !strings.HasPrefix(said, "a text contains the key") || strings.Contains(said, secret[:24]) {
			t.Errorf("%s: the finding is %q", name, said)
		}
	}
}

// TestSearchFindsNoOther searches texts that contain no secret, or only a secret that was not
// added to the Finder.
func TestSearchFindsNoOther(t *testing.T) {
	var finder, empty leaktest.Finder
	secret := leaktest.Canary()
	finder.Add("the key", secret)
	for _, text := range []string{"", leaktest.Odd, leaktest.Canary(), secret[:20], `\`, "%", `\u12`, base32.StdEncoding.EncodeToString([]byte("text"))} {
		if found := finder.Search("a text", []byte(text)); len(found) > 0 {
			t.Errorf("%q: %v", text, found)
		}
	}
	if found := empty.Search("a text", []byte(secret)); len(found) > 0 {
		t.Errorf("a Finder without secrets found %v", found)
	}
}
