package fleetkeys_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
)

// `numbered` returns the text of a fleet key whose bytes count up from the first byte.
func numbered(first byte) string {
	data := make([]byte, fleetkeys.Size)
	for i := range data {
		data[i] = first + byte(i)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func parse(t testing.TB, text string) fleetkeys.Key {
	t.Helper()
	key, err := fleetkeys.Parse(secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestGenerate(t *testing.T) {
	first, second := fleetkeys.Generate(), fleetkeys.Generate()
	if first == second {
		t.Error("two keys are the same")
	}
	if len(first) != 44 || !parse(t, first).Equal(parse(t, strings.TrimSuffix(first, "="))) {
		t.Errorf("a key has %d characters, want 44, or is another key without its padding", len(first))
	}
	if parse(t, first).Equal(parse(t, second)) {
		t.Error("two different keys are equal")
	}
	if (fleetkeys.Key{}).Equal(parse(t, first)) || parse(t, first).Equal(fleetkeys.Key{}) || !(fleetkeys.Key{}).Equal(fleetkeys.Key{}) {
		t.Error("the zero key is equal to a valid key, or not equal to itself")
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		notBase64 = "the key is not standard base64: make one with 'broker keygen'"
		notRandom = "the key is not random: make one with 'broker keygen'"
	)
	encode := base64.StdEncoding.EncodeToString
	urlSafe := base64.URLEncoding.EncodeToString(append(bytes.Repeat([]byte{0xfb}, 3), make([]byte, 29)...))
	for name, test := range map[string]struct{ text, want string }{
		"nothing":          {"", "the key has 0 bytes, not 32: make one with 'broker keygen'"},
		"a word":           {"canary-word!", notBase64},
		"hexadecimal":      {strings.Repeat("canary00", 8), "the key has 48 bytes, not 32: make one with 'broker keygen'"},
		"the URL alphabet": {urlSafe, notBase64},
		"31 bytes":         {encode(make([]byte, 31)), "the key has 31 bytes, not 32: make one with 'broker keygen'"},
		"33 bytes":         {encode(make([]byte, 33)), "the key has 33 bytes, not 32: make one with 'broker keygen'"},
		"zeros":            {encode(make([]byte, 32)), notRandom},
		"few bytes":        {encode([]byte(strings.Repeat("canary", 6)[:32])), notRandom},
		"a space":          {numbered(1) + " ", notBase64},
		"a line break":     {numbered(1)[:20] + "\n" + numbered(1)[20:], notBase64},
		"too much padding": {numbered(1) + "=", notBase64},
		"loose bits":       {numbered(1)[:42] + "B=", notBase64},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fleetkeys.Parse(secret.New(test.text))
			if err == nil || err.Error() != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
}
