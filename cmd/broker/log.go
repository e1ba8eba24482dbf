package main

import (
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlags are how and how much to log.
type logFlags struct {
	level  logLevel
	format logFormat
}

// add adds the flags to a command.
func (f *logFlags) add(command *cobra.Command) {
	command.Flags().TextVar(&f.level, "log-level", logLevel(slog.LevelInfo), "debug, info, warn or error")
	command.Flags().TextVar(&f.format, "log-format", textFormat, "text or json")
}

// newLogger returns a logger as the flags have it.
func (f *logFlags) newLogger(out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(f.level)}
	if f.format == jsonFormat {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// logLevel is how grave a line must be.
type logLevel slog.Level

// UnmarshalText reads the value of a flag.
func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return errors.New("must be debug, info, warn or error")
	}
	return nil
}

// MarshalText writes the value of a flag.
func (l logLevel) MarshalText() ([]byte, error) { return slog.Level(l).MarshalText() }

// logFormat is how log lines are written.
type logFormat string

const (
	textFormat logFormat = "text"
	jsonFormat logFormat = "json"
)

// UnmarshalText reads the value of a flag.
func (f *logFormat) UnmarshalText(text []byte) error {
	switch format := logFormat(text); format {
	case textFormat, jsonFormat:
		*f = format
		return nil
	default:
		return errors.New("must be text or json")
	}
}

// MarshalText writes the value of a flag.
func (f logFormat) MarshalText() ([]byte, error) { return []byte(f), nil }
