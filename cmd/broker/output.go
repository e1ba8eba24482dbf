package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// textWidth is the width of wrapped text, in characters.
const textWidth = 80

type screen struct {
	io.Writer

	terminal bool
	styled   bool // whether the output shows bold text
}

func newScreen(out io.Writer) *screen {
	terminal := isTerminal(out)
	styled := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &screen{out, terminal, styled}
}

func (s *screen) bold(text string) string {
	if !s.styled {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// rows is a table with two columns: labels and their values.
type rows [][2]string

func (r *rows) add(label string, values ...string) {
	for _, value := range values {
		if value != "" {
			*r = append(*r, [2]string{label, value})
		}
	}
}

func (s *screen) printRows(indent string, list rows) {
	width := 0
	for _, row := range list {
		width = max(width, len(row[0]))
	}
	for _, row := range list {
		fmt.Fprintf(s, "%s%s  %s\n", indent, s.bold(fmt.Sprintf("%-*s", width, row[0])), printable(row[1]))
	}
}

func (s *screen) printTable(head []string, body [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(head, "\t"))
	for _, row := range body {
		var cells []string
		for _, cell := range row {
			cells = append(cells, printable(cell))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(text.String(), "\n")
	_, err := fmt.Fprintf(s, "%s\n%s", s.bold(first), rest)
	return err
}

// printWrapped prints text in lines of at most textWidth characters. Blank lines in the text
// separate paragraphs.
func (s *screen) printWrapped(indent, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			fmt.Fprintln(s)
		}
		for _, line := range wrap(paragraph, textWidth-len(indent)) {
			fmt.Fprintf(s, "%s%s\n", indent, line)
		}
	}
}

// wrap breaks a text between words. A word longer than a line gets a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		word = printable(word)
		last := len(lines) - 1
		if last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// printable replaces characters that a terminal could execute as control sequences.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// printMessage prints a response as protobuf JSON, with empty lists and with secrets.
func printMessage(out io.Writer, message proto.Message) error {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return err
	}
	return printJSON(out, json.RawMessage(text))
}

// printJSON prints indented JSON. printJSON escapes characters that a terminal could execute as
// control sequences, but not the character &.
func printJSON(out io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	var escaped strings.Builder
	for _, r := range text.String() {
		if r == '\n' || unicode.IsPrint(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // JSON needs no escapes outside of strings
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(out, escaped.String())
	return err
}
