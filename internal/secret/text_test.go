package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/authmaterial/broker/internal/secret"
)

const canary = "canary-6f1d"

type holder struct {
	Public string
	Key    secret.Text
	key    secret.Text
	Many   map[string]secret.Text
}

func newHolder() holder {
	return holder{
		Public: "public",
		Key:    secret.New(canary),
		key:    secret.New(canary),
		Many:   map[string]secret.Text{"a": secret.New(canary)},
	}
}

func TestTextIsRedactedUnderEveryVerb(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		for _, value := range []any{secret.New(canary), newHolder(), new(newHolder())} {
			args := []any{value}
			if strings.HasPrefix(verb, "%T") {
				args = []any{value, value}
			}
			if printed := fmt.Sprintf(verb, args...); strings.Contains(printed, canary) ||
				strings.Contains(printed, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of %T shows the secret: %s", verb, value, printed)
			}
		}
	}
	if got := fmt.Sprintf("%v", secret.New(canary)); got != "[REDACTED]" {
		t.Errorf("a secret prints as %q, want [REDACTED]", got)
	}
}

func TestTextIsRedactedInLogs(t *testing.T) {
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("m", "secret", secret.New(canary), "holder", newHolder())
	}
	if strings.Contains(out.String(), canary) {
		t.Errorf("the log shows the secret: %s", out.String())
	}
	if !strings.Contains(out.String(), "[REDACTED]") {
		t.Errorf("the log does not contain [REDACTED]: %s", out.String())
	}
}

func TestTextRefusesToBeMarshalled(t *testing.T) {
	if out, err := json.Marshal(newHolder()); err == nil {
		t.Errorf("json.Marshal succeeded: %s", out)
	}
	if out, err := yaml.Marshal(newHolder().Key); err == nil {
		t.Errorf("yaml.Marshal succeeded: %s", out)
	}
}

func TestReveal(t *testing.T) {
	if got := secret.New(canary).Reveal(); got != canary {
		t.Errorf("Reveal returns %q, want the argument of New", got)
	}
	var zero secret.Text
	if zero.Reveal() != "" || zero != secret.New("") {
		t.Error("the zero value is not the empty secret")
	}
	if !secret.New("a").Equal(secret.New("a")) || secret.New("a").Equal(secret.New("b")) {
		t.Error("Equal reports that equal strings differ, or that different strings are equal")
	}
}

func TestDigest(t *testing.T) {
	key := []byte("key")
	first := secret.Digest(key, "a", "bc")
	if !bytes.Equal(first, secret.Digest(key, "a", "bc")) || len(first) != 32 {
		t.Error("the same parts have different digests, or the digest is not 32 bytes long")
	}
	for _, other := range [][]byte{
		secret.Digest(key, "ab", "c"), secret.Digest(key, "a", "bc", ""), secret.Digest(key, "abc"), secret.Digest([]byte("other"), "a", "bc"),
	} {
		if bytes.Equal(first, other) {
			t.Error("different parts, or another key, give the same digest")
		}
	}
}
