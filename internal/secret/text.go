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

// Text is a secret string, which prints as [REDACTED] with every fmt verb and in slog, and every
// encoder returns an error for it. The zero value is the empty secret.
//
// The string is stored in a closure, because some code prints values by reflection without calling
// their methods, and then finds only the address of the closure.
type Text struct {
	value *func() string // a pointer to a function, because functions are not comparable
}

// New returns a Text with this value.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	reveal := func() string { return value }
	return Text{value: &reveal}
}

// Reveal returns the secret string. Call Reveal only where the secret is sent out of the broker on
// purpose, or is hashed. The linter internal/lint/secretreveal has a list of the packages that may
// call Reveal.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return (*t.value)()
}

// Equal reports whether two secrets are the same. The duration of Equal depends on the secrets, so
// never use it to check a secret that a caller sent.
func (t Text) Equal(other Text) bool { return t.Reveal() == other.Reveal() }

// Format prints [REDACTED] for every verb of package fmt.
func (t Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// String returns [REDACTED].
func (t Text) String() string { return redacted }

// GoString returns [REDACTED].
func (t Text) GoString() string { return redacted }

// LogValue returns [REDACTED].
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always returns an error. XML encoders call MarshalText for all values; JSON and YAML
// encoders call it for the keys of maps.
func (t Text) MarshalText() ([]byte, error) { return nil, errMarshalled }

// MarshalJSON always returns an error.
func (t Text) MarshalJSON() ([]byte, error) { return nil, errMarshalled }

// MarshalYAML always returns an error.
func (t Text) MarshalYAML() (any, error) { return nil, errMarshalled }

// MarshalBinary always returns an error.
func (t Text) MarshalBinary() ([]byte, error) { return nil, errMarshalled }

// GobEncode always returns an error.
func (t Text) GobEncode() ([]byte, error) { return nil, errMarshalled }
