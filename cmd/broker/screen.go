package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/term"
)

// The widths to which text for people is wrapped.
const (
	minimumWidth = 40
	defaultWidth = 80
	maximumWidth = 100 // lines that are longer are hard to read
)

// screen is where a command prints: a terminal, or anything else.
type screen struct {
	io.Writer

	terminal bool // a person reads it
	styled   bool // it shows bold text
	width    int
}

// newScreen looks at what out is.
func newScreen(out io.Writer) *screen {
	s := &screen{Writer: out, width: defaultWidth}
	file, ok := out.(*os.File)
	if !ok || !isTerminal(file) {
		return s
	}
	s.terminal = true
	s.styled = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		s.width = min(max(width, minimumWidth), maximumWidth)
	}
	return s
}

func isTerminal(file *os.File) bool {
	return term.IsTerminal(int(file.Fd()))
}

// bold makes text bold on a terminal.
func (s *screen) bold(text string) string {
	if !s.styled {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// row is a line of a list: what it is about, and what there is to say.
type row struct{ label, value string }

// printRows prints a list with its values below each other.
func (s *screen) printRows(indent string, rows []row) {
	width := 0
	for _, row := range rows {
		width = max(width, len(row.label))
	}
	for _, row := range rows {
		fmt.Fprintf(s, "%s%s  %s\n", indent, s.bold(fmt.Sprintf("%-*s", width, row.label)), printable(row.value))
	}
}

// printTable prints rows below the first, which is the head.
func (s *screen) printTable(rows [][]string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(table, "\t")
			}
			fmt.Fprint(table, printable(cell))
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	head, body, _ := strings.Cut(text.String(), "\n")
	_, err := fmt.Fprintf(s, "%s\n%s", s.bold(head), body)
	return err
}

// printWrapped prints paragraphs, which blank lines part, wrapped to the width.
func (s *screen) printWrapped(indent, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			fmt.Fprintln(s)
		}
		for _, line := range wrap(paragraph, s.width-len(indent)) {
			fmt.Fprintf(s, "%s%s\n", indent, line)
		}
	}
}

// wrap breaks a text between its words. A word that is too long has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line, length := "", 0
	for _, word := range strings.Fields(text) {
		word = printable(word)
		size := len([]rune(word))
		switch {
		case line == "":
			line, length = word, size
		case length+1+size <= width:
			line, length = line+" "+word, length+1+size
		default:
			lines = append(lines, line)
			line, length = word, size
		}
	}
	if line == "" {
		return lines
	}
	return append(lines, line)
}

// printable replaces what a terminal could take for a command.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
