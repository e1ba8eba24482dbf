// Package draft writes the first version of a provider's definition, from a curl command or from the
// answers of a person. A person completes it.
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

// Definition is the draft of a provider's definition, with one auth method. Notes become comments,
// which say what was assumed.
type Definition struct {
	ID, DisplayName  string
	Hosts            []string
	Method           Method
	Notes, HostNotes []string

	values map[string]string // the values of fields that the command contains
}

// Method is the auth method of a Definition.
type Method struct {
	ID, DisplayName      string
	Fields               []Field
	TokenRequest         *TokenRequest
	Headers, QueryParams []Placement
	Notes                []string // above the headers and query parameters
	VerificationURL      string   // empty if there is no verification
	VerificationNotes    []string
}

// Field is a field of a Method. Every field is required.
type Field struct {
	ID     string
	Secret bool
	Notes  []string
}

// Placement is a header or a query parameter. Its value is a text with expressions.
type Placement struct {
	Name, Value  string
	OnlyIfAbsent bool
}

// TokenRequest is the token request of a Method.
type TokenRequest struct {
	Method               string // empty for POST
	URL, Body            string
	ClientAuthentication string
	GrantType            string
	Parameters           []Parameter
	Headers              []Placement
	JWT                  *JWT
	Notes                []string
}

// Parameter is a parameter of a token request, or a claim. Its value is one of package encoding/json,
// in which texts may have expressions.
type Parameter struct {
	Name  string
	Value any
}

// JWT is a JSON Web Token that the broker signs with the field private_key.
type JWT struct {
	Algorithm string
	Header    []Parameter
	Claims    []Parameter
}

// Values returns the values of the fields that the curl command contains. They are no part of the
// YAML.
func (d *Definition) Values() map[string]string { return d.values }

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
