// Package allowedtest may reveal secrets, because its name ends in "test".
package allowedtest

import "github.com/authmaterial/broker/internal/secret"

func reveal(text secret.Text) string { return text.Reveal() }
