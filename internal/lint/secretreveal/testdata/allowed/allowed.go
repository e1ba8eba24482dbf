// Package allowedtest has the name of a test package.
package allowedtest

import "github.com/authmaterial/broker/internal/secret"

func reveal(text secret.Text) string { return text.Reveal() }
