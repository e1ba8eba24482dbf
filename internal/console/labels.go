package console

import (
	"maps"
	"slices"
	"strings"
)

// toLines returns labels as people edit them, one `key=value` on each line.
func toLines(labels map[string]string) string {
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		lines.WriteString(key + "=" + labels[key] + "\n")
	}
	return lines.String()
}

// fromLines returns the labels of a form.
func fromLines(text string) (map[string]string, error) {
	labels := map[string]string{}
	for _, line := range linesOf(text) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, invalid("credential.labels", "write key=value on each line, such as team=growth")
		}
		labels[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return labels, nil
}

// nameLabel returns the beginning of the text about the problem of a field, which names the label if
// the field is a label.
func nameLabel(field string) string {
	if label, ok := strings.CutPrefix(field, "credential.labels."); ok {
		return "Label " + label + ": "
	}
	return ""
}

// linesOf returns the lines of a text that are not blank, without the space around them.
func linesOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
