package strictyaml

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// File is empty for what is wrong elsewhere, such as in the environment.
	File string
	// Line and Column say where, counted in characters from 1.
	Line, Column int
	// Message says what is wrong. It quotes no scalar.
	Message string
}

// String returns FILE:LINE:COLUMN: MESSAGE, or the message alone without a file.
func (p Problem) String() string {
	if p.File == "" {
		return p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is all that is wrong with a document.
type Problems []Problem

// Error returns the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func compareProblems(a, b Problem) int {
	return cmp.Or(
		cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Message, b.Message),
	)
}

// maxQuoted is how many characters of a key a problem shows.
const maxQuoted = 64

// quote returns the name of a key as a problem shows it.
func quote(name string) string {
	count := 0
	for i := range name {
		if count++; count > maxQuoted {
			return strconv.Quote(name[:i] + "…")
		}
	}
	return strconv.Quote(name)
}

// quoteAll returns names quoted, with commas between.
func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ")
}
