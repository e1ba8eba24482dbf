// Package secret holds values that must not be seen.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every way of printing a Text shows.
const redacted = "[REDACTED]"

// errMarshalled is the answer to every encoder: a secret that is marshalled is a secret
// on its way out.
var errMarshalled = errors.New("a secret cannot be marshalled")

// Text is a secret string. It prints as [REDACTED] under every fmt verb and in
// slog, and refuses to be marshalled. Its zero value is the empty secret.
//
// It keeps the string in a function. Code which prints structures by reflection, follows
// pointers, and does not ask for a method, finds an address there.
type Text struct {
	value *func() string // a pointer, so that a Text can be compared
}

// New returns value as a secret.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	reveal := func() string { return value }
	return Text{value: &reveal}
}

// Reveal returns the string. Call it where the secret leaves the broker on
// purpose, or is hashed, and nowhere else: internal/lint/secretreveal lists where.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return (*t.value)()
}

// Equal reports whether both hold the same string. It is not made for comparing what
// a caller sends with what the broker keeps: its time depends on the values.
func (t Text) Equal(other Text) bool { return t.Reveal() == other.Reveal() }

// Format prints [REDACTED], whatever the verb.
func (t Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// String returns [REDACTED].
func (t Text) String() string { return redacted }

// GoString returns [REDACTED].
func (t Text) GoString() string { return redacted }

// LogValue returns [REDACTED].
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails. It serves encoding/xml, and the keys of maps in JSON and YAML.
func (t Text) MarshalText() ([]byte, error) { return nil, errMarshalled }

// MarshalJSON fails.
func (t Text) MarshalJSON() ([]byte, error) { return nil, errMarshalled }

// MarshalYAML fails.
func (t Text) MarshalYAML() (any, error) { return nil, errMarshalled }

// MarshalBinary fails.
func (t Text) MarshalBinary() ([]byte, error) { return nil, errMarshalled }

// GobEncode fails.
func (t Text) GobEncode() ([]byte, error) { return nil, errMarshalled }
