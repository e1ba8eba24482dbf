package draft

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/yamlfile"
)

//go:embed definition.tmpl
var text string

var layout = template.Must(template.New("definition").Funcs(template.FuncMap{
	"text": scalar, "list": scalars, "value": value, "notes": comments, "display": displayName,
}).Parse(text))

// YAML returns the definition in the form of a file of its own. It fails if the definition has a
// problem, for example because the name of a header is not valid.
func (d *Definition) YAML() ([]byte, error) {
	var out bytes.Buffer
	if err := layout.Execute(&out, d); err != nil {
		return nil, err
	}
	definition := append(bytes.TrimSpace(out.Bytes()), '\n')
	document := yamlfile.Parse("definition", definition)
	catalog.Define(document.Root())
	if err := document.Err(); err != nil {
		return nil, fmt.Errorf("no definition can be made of this:\n%w", err)
	}
	return definition, nil
}

// plain matches texts that YAML reads as texts without quotes.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$`)

var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9._~/?=&%+:-]*[A-Za-z0-9_/]$`)

var keywords = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|y|n|null)$`)

// scalar returns a text as YAML, with quotes if it needs them.
func scalar(text string) (string, error) {
	if plain.MatchString(text) && !keywords.MatchString(text) || plainURL.MatchString(text) {
		return text, nil
	}
	return marshal(text)
}

// value returns a value of package encoding/json as YAML.
func value(of any) (string, error) {
	if text, ok := of.(string); ok {
		return scalar(text)
	}
	return marshal(of)
}

// marshal returns a value as JSON, which is also YAML.
func marshal(of any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(of)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func scalars(texts []string) (string, error) {
	var quoted []string
	for _, text := range texts {
		one, err := scalar(text)
		if err != nil {
			return "", err
		}
		quoted = append(quoted, one)
	}
	return strings.Join(quoted, ", "), nil
}

const lineWidth = 92 // characters

// comments returns notes as comments in lines of their own, indented by a number of spaces.
func comments(indent int, notes []string) string {
	var out strings.Builder
	start := strings.Repeat(" ", indent) + "#"
	for _, note := range notes {
		line := start
		for word := range strings.FieldsSeq(note) {
			if len(line)+1+len(word) > lineWidth && line != start {
				out.WriteString(line + "\n")
				line = start
			}
			line += " " + word
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
