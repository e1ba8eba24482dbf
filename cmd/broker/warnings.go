package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// warningLines is a slog.Handler that prints each warning in one line for people: its message
// and its attributes. An attribute named warning has the whole text itself.
type warningLines struct{ out io.Writer }

// Enabled reports whether a record is a warning.
func (warningLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle prints a line.
func (w warningLines) Handle(_ context.Context, record slog.Record) error {
	text, details := record.Message, []string(nil)
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "warning" {
			text = attr.Value.String()
		} else {
			details = append(details, attr.Key+": "+attr.Value.String())
		}
		return true
	})
	if len(details) > 0 {
		text += " (" + strings.Join(details, "; ") + ")"
	}
	_, err := fmt.Fprintf(w.out, "warning: %s\n", text)
	return err
}

// WithAttrs returns w: no warning is logged with attributes of its logger.
func (w warningLines) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup returns w, as WithAttrs does.
func (w warningLines) WithGroup(string) slog.Handler { return w }
