// Package findings reveals secrets in every way that the rule reports.
package findings

import "github.com/authmaterial/broker/internal/secret"

type wrapped struct{ secret.Text }

type revealer interface{ Reveal() string }

func called(text secret.Text, pointer *secret.Text, in wrapped) []string {
	return []string{
		text.Reveal(),              // want `text.Reveal reveals a secret`
		pointer.Reveal(),           // want `pointer.Reveal reveals a secret`
		in.Reveal(),                // want `in.Reveal reveals a secret`
		in.Text.Reveal(),           // want `in.Text.Reveal reveals a secret`
		revealer(text).Reveal(),    // want `Reveal reveals a secret`
		secret.New("").Reveal(),    // want `Reveal reveals a secret`
		(secret.Text).Reveal(text), // want `Reveal reveals a secret`
	}
}

func asValue(text secret.Text) func() string {
	return text.Reveal // want `text.Reveal reveals a secret`
}

func generic[T interface{ Reveal() string }](value T) string {
	return value.Reveal() // want `value.Reveal reveals a secret`
}
