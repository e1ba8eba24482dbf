package yamlfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is a position in a file: a line and a column in characters, both counted from 1.
type Place struct{ Line, Column int }

// Problem describes a mistake in a file.
type Problem struct {
	// File is the name of the file, or empty for a problem outside the file, such as in the
	// environment.
	File string
	Place
	// Message describes the problem without quoting a value.
	Message string
}

// String returns the problem's file, line, column and message, separated by colons. If File is
// empty, String returns only the message.
func (p Problem) String() string {
	if p.File == "" {
		return p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all problems of a file.
type Problems []Problem

// Error returns the problems, one per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sorted() Problems {
	sorted := slices.SortedFunc(slices.Values(p), func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(sorted)
}

// Nearest returns the known name that is most similar to a given name. The two names may differ by
// at most one edit per three characters, and by at most three edits.
func Nearest(name string, known []string) (nearest string, ok bool) {
	const longest = 64 // bytes
	if len(name) > longest {
		return "", false
	}
	least := 4
	for _, candidate := range known {
		if edits := distance(name, candidate); edits < least && edits <= max(1, len(candidate)/3) {
			nearest, least = candidate, edits
		}
	}
	return nearest, nearest != ""
}

// distance returns the smallest number of edits that turn one name into the other (optimal string
// alignment). An edit inserts, deletes or replaces a byte, or swaps two neighbouring bytes.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + min(rows[i-1][j-1], rows[i-1][j], rows[i][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], 1+rows[i-2][j-2])
			}
		}
	}
	return rows[len(a)][len(b)]
}
