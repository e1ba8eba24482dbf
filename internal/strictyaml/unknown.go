package strictyaml

import "unicode/utf8"

// unknownSentence says that a key is not known, and which was meant or which are.
func unknownSentence(name string, known []string) string {
	sentence := "unknown key " + quote(name)
	if meant, ok := nearest(name, known); ok {
		return sentence + "; did you mean " + quote(meant) + "?"
	}
	if len(known) > 0 {
		return sentence + "; known here: " + quoteAll(known)
	}
	return sentence
}

// nearest returns the known name that differs least from name, when it is close: one
// edit in three characters, and three at most.
func nearest(name string, known []string) (meant string, ok bool) {
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

// distance counts the characters to insert, delete or replace to make b of a.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
