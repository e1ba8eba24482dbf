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

// Text is a secret string. It prints as [REDACTED] under every fmt verb and in
// slog, and refuses to be marshalled. Its zero value is the empty secret.
//
// It keeps the string behind a pointer, so that code which prints structures by
// reflection, and does not ask for a method, sees an address.
type Text struct {
	value *string
}

// New returns value as a secret.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	return Text{value: &value}
}

// Reveal returns the string. Call it where the secret leaves the broker on
// purpose, or is hashed, and nowhere else.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Equal says whether both hold the same string. It is not made for comparing what
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

// MarshalText fails: a secret that is marshalled is a secret on its way out. It
// serves encoding/json, encoding/xml and YAML.
func (t Text) MarshalText() ([]byte, error) {
	return nil, errors.New("a secret cannot be marshalled")
}
