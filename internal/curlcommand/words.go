package curlcommand

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

const maxText = 256 << 10 // bytes

var (
	// windows matches what joins lines, or quotes, in a shell of Windows only.
	windows = regexp.MustCompile(`(?m)[\t ]\^[\t ]*\r?$|\^"`)
	// backtick matches what joins lines in PowerShell, and may end a command in Bash.
	backtick = regexp.MustCompile("(?m)[\t ]`[\t ]*\r?$")
)

// splitWords returns the arguments of each call of curl in a text for a shell.
func splitWords(text string) (calls [][]string, err error) {
	if len(text) > maxText {
		return nil, errors.New("the text is longer than 256 KiB: leave out all but the curl command")
	}
	switch {
	case windows.MatchString(text):
		return nil, errors.New("the command is written for a shell of Windows: join its lines, remove each ^ in front of a quote or at the end of a line, " +
			"or copy the command for bash")
	case backtick.MatchString(text):
		return nil, errors.New("a line ends in a space and a backtick: if the next line continues it, join the two lines without the backtick; " +
			"if the backtick ends a command, write $(COMMAND) in place of `COMMAND`")
	}
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	file, err := parser.Parse(strings.NewReader(strings.ReplaceAll(text, "\r\n", "\n")), "")
	if failed, ok := errors.AsType[syntax.ParseError](err); ok {
		return nil, fmt.Errorf("a shell cannot read the command: check the quotes near line %d, column %d", failed.Pos.Line(), failed.Pos.Col())
	}
	if err != nil {
		return nil, errors.New("a shell cannot read the command: check the quotes, and the backslashes at the ends of lines")
	}
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok || err != nil {
			return err == nil
		}
		var words []string
		if words, err = callOfCurl(call); words != nil {
			calls = append(calls, words)
		}
		return len(call.Args) == 0 // a call of curl in an argument is no request of its own, unlike one that sets a variable
	})
	return calls, err
}

// callOfCurl returns nil if a call does not run curl. A prompt in front of the command is left out.
func callOfCurl(call *syntax.CallExpr) ([]string, error) {
	args := call.Args
	if len(args) > 0 && (args[0].Lit() == "$" || args[0].Lit() == "%") {
		args = args[1:]
	}
	if len(args) == 0 || strings.TrimSuffix(path.Base(args[0].Lit()), ".exe") != "curl" {
		return nil, nil
	}
	words := []string{}
	for _, word := range args[1:] {
		var text strings.Builder
		if err := write(&text, word.Parts, false); err != nil {
			return nil, err
		}
		words = append(words, text.String())
	}
	return words, nil
}

// write writes the parts of a word without their quotes. It expands nothing.
func write(text *strings.Builder, parts []syntax.WordPart, quoted bool) error {
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text.WriteString(unescape(part.Value, quoted))
		case *syntax.SglQuoted:
			value := part.Value
			if part.Dollar {
				value, _, _ = expand.Format(nil, value, nil) // an invalid escape sequence stays as it is
			}
			text.WriteString(value)
		case *syntax.DblQuoted:
			if err := write(text, part.Parts, true); err != nil {
				return err
			}
		case *syntax.CmdSubst:
			text.WriteString(Unknown)
		case *syntax.ParamExp:
			if part.Param == nil {
				return errUnusual
			}
			text.WriteString("$" + part.Param.Value)
		default:
			return errUnusual
		}
	}
	return nil
}

var errUnusual = errors.New("the command uses the shell in a way that is not supported here: write the arguments of curl as plain texts in quotes")

// unescape removes the backslashes with which the shell quotes single characters.
func unescape(text string, quoted bool) string {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && (!quoted || strings.IndexByte("$`\"\\\n", text[i+1]) >= 0) {
			i++
			if text[i] == '\n' {
				continue
			}
		}
		plain.WriteByte(text[i])
	}
	return plain.String()
}
