package strictyaml

import "unicode/utf8"

// Nearest returns the known name that differs least from name, when it is close: one
// edit in three characters, and three at most.
func Nearest(name string, known []string) (meant string, ok bool) {
	if utf8.RuneCountInString(name) > maxQuoted {
		return "", false
	}
	least := 4
	for _, candidate := range known {
		edits := distance([]rune(name), []rune(candidate))
		if edits < least && edits <= max(1, len(candidate)/3) {
			meant, least = candidate, edits
		}
	}
	return meant, meant != ""
}

// distance counts the characters to insert, delete, replace or swap with their
// neighbour to make b of a.
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range b {
			edits := last[j]
			if a[i] != b[j] {
				edits = 1 + min(last[j], last[j+1], row[j])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				edits = min(edits, 1+before[j-1])
			}
			row[j+1] = edits
		}
	}
	return row[len(b)]
}
