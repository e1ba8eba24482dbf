// Package secret provides a type for values that must never be printed, logged or marshalled.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[REDACTED]"

var errMarshalled = errors.New("a secret cannot be marshalled")

// Text is a secret string. It prints as [REDACTED] with every fmt verb and in slog, and every
// encoder fails on it. The zero value is the empty secret.
//
// A function captures the string: code that prints values by reflection, without calling their
// methods, finds only the function's address.
type Text struct {
	value *func() string // a pointer, so that Texts are comparable
}

// New returns value as a secret.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	reveal := func() string { return value }
	return Text{value: &reveal}
}

// Reveal returns the string. Call it only where the secret is sent out of the broker on purpose,
// or is hashed. The linter internal/lint/secretreveal lists the packages that may call it.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return (*t.value)()
}

// Equal reports whether both strings are the same. Its duration depends on the strings: never
// use it to check a secret that a caller sent.
func (t Text) Equal(other Text) bool { return t.Reveal() == other.Reveal() }

// Format prints [REDACTED] for every verb.
func (t Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// String returns [REDACTED].
func (t Text) String() string { return redacted }

// GoString returns [REDACTED].
func (t Text) GoString() string { return redacted }

// LogValue returns [REDACTED].
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails. XML encoders call it, and JSON and YAML encoders call it for map keys.
func (t Text) MarshalText() ([]byte, error) { return nil, errMarshalled }

// MarshalJSON fails.
func (t Text) MarshalJSON() ([]byte, error) { return nil, errMarshalled }

// MarshalYAML fails.
func (t Text) MarshalYAML() (any, error) { return nil, errMarshalled }

// MarshalBinary fails.
func (t Text) MarshalBinary() ([]byte, error) { return nil, errMarshalled }

// GobEncode fails.
func (t Text) GobEncode() ([]byte, error) { return nil, errMarshalled }
