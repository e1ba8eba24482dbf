package fleetkeys_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

type holder struct {
	Key  fleetkeys.Key
	Ring *fleetkeys.Ring
	key  fleetkeys.Key
	ring *fleetkeys.Ring
	flat fleetkeys.Ring
}

// shapes returns the forms in which the first 8 bytes of a secret might be printed.
func shapes(data []byte) []string {
	start := data[:8]
	numbers := strings.Trim(fmt.Sprintf("%d", start), "[]")
	return []string{
		string(start), hex.EncodeToString(start), strings.ToUpper(hex.EncodeToString(start)),
		base64.RawStdEncoding.EncodeToString(data[:9]), numbers, strings.ReplaceAll(numbers, " ", ","),
		strings.Trim(fmt.Sprintf("%#v", start), "[]byte{}"), strings.Trim(fmt.Sprintf("%q", start), `"`),
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	key, keys := parse(t, numbered('a')), ring(t, numbered('a'), numbered('b'))
	var out bytes.Buffer
	for _, value := range []any{key, &key, keys, *keys, holder{key, keys, key, keys, *keys}, &holder{key, keys, key, keys, *keys}, []any{key, keys}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%O", "%c", "%U", "%t", "%e", "%p", "%!"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", value)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("m", "value", value)
		}
		data, err := json.Marshal(value)
		_, _ = fmt.Fprintln(&out, string(data), err)
	}
	printed := out.String()
	raw, err := base64.StdEncoding.DecodeString(numbered('a'))
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range append(keys.VersionKeys(), raw) {
		for j, shape := range shapes(data) {
			if strings.Contains(printed, shape) {
				t.Errorf("the output contains key %d, in the form that shapes returns at index %d", i, j)
			}
		}
	}
	if !strings.Contains(printed, "[REDACTED]") {
		t.Error("[REDACTED] is not printed")
	}
}
