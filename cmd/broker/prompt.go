package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// maxTyped is the number of characters after which a terminal line is cut off.
const maxTyped = 4096

// errCancelled is the error of a command that a person has ended.
var errCancelled = errors.New("cancelled")

// prompter asks a person questions at a terminal. It writes the questions to the standard error, so
// that the standard output contains only results.
type prompter struct {
	*screen
	input *os.File
	lines *term.Terminal
}

// newPrompter returns nil unless both the input and the screen are terminals.
func newPrompter(input io.Reader, out *screen) *prompter {
	if !out.terminal || !isTerminal(input) {
		return nil
	}
	file := input.(*os.File)
	keyboard := struct {
		io.Reader
		io.Writer
	}{file, out.Writer}
	return &prompter{out, file, term.NewTerminal(keyboard, "")}
}

func isTerminal(input any) bool {
	file, ok := input.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// read reads one line with a function that shows the prompt. The terminal stops echoing before the
// prompt appears, so that it does not show a secret that is pasted as soon as the prompt appears. If
// the text has more lines, they are not shown.
func (p *prompter) read(prompt string, line func(prompt string) (string, error)) (string, error) {
	fd := int(p.input.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, before) //nolint:errcheck // an error means that the terminal is gone
	if width, height, err := term.GetSize(fd); err == nil && width > 0 {
		_ = p.lines.SetSize(width, height) // never fails
	}
	if os.Getenv("TERM") != "dumb" {
		p.lines.SetBracketedPasteMode(true)
		defer p.lines.SetBracketedPasteMode(false)
	}
	for {
		text, err := line(prompt)
		pasted := isPasted(err)
		for isPasted(err) { // the shell would run pasted lines that the command does not read
			text, err = p.lines.ReadPassword(prompt)
		}
		if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN ") && !strings.Contains(text, "-----END ") { // a key whose first line is not marked as pasted
			pasted = true
			for (err == nil || isPasted(err)) && !strings.HasPrefix(strings.TrimSpace(text), "-----END ") {
				text, err = p.lines.ReadPassword(prompt)
			}
		}
		switch {
		case errors.Is(err, io.EOF): // the person typed Ctrl-C or Ctrl-D, or the terminal is gone
			_, _ = io.WriteString(p, "\r\n") // an error does not matter: the terminal may be gone
			return "", errCancelled
		case err != nil && !isPasted(err):
			return "", err
		case !pasted && len(text) < maxTyped:
			return text, nil
		}
		_, _ = io.WriteString(p, "  The text has several lines or is too long. Use a file: --secret-file FIELD=PATH. Ctrl-C ends the command.\r\n")
	}
}

// isPasted reports whether an error marks a line that is pasted, and not typed.
func isPasted(err error) bool { return errors.Is(err, term.ErrPasteIndicator) }

// ask returns the text that the person types, without spaces around it, or the default value if
// the person types nothing.
func (p *prompter) ask(question, otherwise string) (string, error) {
	if otherwise != "" {
		question += " [" + printable(otherwise) + "]"
	}
	text, err := p.read(question+": ", func(prompt string) (string, error) {
		p.lines.SetPrompt(prompt)
		return p.lines.ReadLine()
	})
	if text = strings.TrimSpace(text); text == "" {
		text = otherwise
	}
	return text, err
}

// askRequired asks until the person types something.
func (p *prompter) askRequired(question string) (string, error) {
	for {
		text, err := p.ask(question, "")
		if text != "" || err != nil {
			return text, err
		}
		fmt.Fprintln(p, "  A text is needed.")
	}
}

// askSecret returns the text that the person types, which the terminal does not show. Spaces around
// the text are left out, because they come from copying.
func (p *prompter) askSecret(question string) (string, error) {
	text, err := p.read(question+": ", p.lines.ReadPassword)
	trimmed := strings.TrimSpace(text)
	if trimmed != text {
		fmt.Fprintln(p, "  Spaces around the value were left out.")
	}
	return trimmed, err
}

// confirm asks a question that is answered with yes or no.
func (p *prompter) confirm(question string, otherwise bool) (bool, error) {
	choices := "[y/N]"
	if otherwise {
		choices = "[Y/n]"
	}
	for {
		text, err := p.ask(question+" "+choices, "")
		switch strings.ToLower(text) {
		case "":
			return otherwise, err
		case "y", "yes":
			return true, err
		case "n", "no":
			return false, err
		}
		fmt.Fprintln(p, "  Type y or n.")
	}
}

// option is one of several answers to a question. A person sees the name, and types the ID or the
// number.
type option struct{ id, name string }

// choose asks for one of several options, and returns its index. A single option is returned
// without a question.
func (p *prompter) choose(question string, options []option) (int, error) {
	if len(options) == 1 {
		return 0, nil
	}
	for i, o := range options {
		fmt.Fprintf(p, "  %2d  %s\n", i+1, printable(o.name+" ("+o.id+")"))
	}
	for {
		text, err := p.ask(question, "")
		if err != nil {
			return 0, err
		}
		number, _ := strconv.Atoi(text)
		for i, o := range options {
			if number == i+1 || strings.EqualFold(text, o.id) || strings.EqualFold(text, o.name) {
				return i, nil
			}
		}
		fmt.Fprintf(p, "  Type a number from 1 to %d, or an ID.\n", len(options))
	}
}
