package server

import (
	"log/slog"
	"math"

	"github.com/authmaterial/broker/internal/config"
)

// LogWarnings logs what a configuration allows and is probably a mistake, and who gets the
// secrets without a proof: all that a Server with it logs at its start, without the limit on
// the number of lines.
func LogWarnings(logger *slog.Logger, c *config.Config) {
	logWarnings(logger, c, c.Policy.DeniesAll(), math.MaxInt)
	logExposure(logger, c.Listen, exposureOf(c))
}

// logWarnings logs the warnings about a configuration, but for its exposure. It writes most
// lines for c.Warnings, and one more for the number of those that it leaves out.
func logWarnings(logger *slog.Logger, c *config.Config, deniesAll bool, most int) {
	if deniesAll {
		logger.Warn("the configuration has no grants: every caller is denied everything")
	}
	for _, id := range c.ReplacedProviders {
		logger.Warn("the configuration replaces a built-in provider", "provider", id)
	}
	shown := min(len(c.Warnings), most)
	for _, warning := range c.Warnings[:shown] {
		logger.Warn("configuration", "warning", warning.String())
	}
	if left := c.Warnings[shown:]; len(left) > 0 {
		logger.Warn("configuration", "more_warnings", len(left))
	}
}
