package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/regularfile"
)

// maxSecret is the limit of one value, in bytes.
const maxSecret = 64 << 10

// valueFlags are the flags for the values of fields. No secret is the value of a flag, because
// every user of a machine can read the flags of a running program.
type valueFlags struct {
	texts, files []string // FIELD=TEXT and FIELD=PATH
	input        string   // the field whose value is read from standard input
	cleared      []string // the fields whose value is removed
	environment  bool     // whether the command has the flag --secret-env
}

const valueHelp = `Values come from --value FIELD=TEXT for fields that are not secret, from --secret-file
FIELD=PATH, or from standard input for --secret-stdin FIELD. One line break at the end of a
file or of standard input is left out. At a terminal, the command asks for the other fields,
and hides secrets.`

func (f *valueFlags) addFlags(command *cobra.Command, clears bool) {
	flags := command.Flags()
	flags.StringArrayVar(&f.texts, "value", nil, "the value of a field that is not secret, as `FIELD=TEXT`")
	flags.StringArrayVar(&f.files, "secret-file", nil, "a file with the value of a field, as `FIELD=PATH`")
	flags.StringVar(&f.input, "secret-stdin", "", "the `FIELD` whose value is read from standard input")
	if clears {
		flags.StringArrayVar(&f.cleared, "clear", nil, "an optional `FIELD` whose value is removed")
	}
}

// fieldValues collects the values of the fields of an auth method.
type fieldValues struct {
	method      *authmaterialv1.AuthMethod
	values      []*authmaterialv1.FieldValue
	environment bool                       // whether the command has the flag --secret-env
	present     *authmaterialv1.Credential // the existing credential whose values are changed; nil for a new credential
}

// read returns the values that the flags give. Errors quote no text of the flags, because it may be
// a secret.
func (f *valueFlags) read(method *authmaterialv1.AuthMethod, input io.Reader) (*fieldValues, error) {
	read := &fieldValues{method: method, environment: f.environment}
	for _, given := range f.texts {
		if err := read.addText(given); err != nil {
			return nil, err
		}
	}
	for _, given := range f.files {
		id, path, found := strings.Cut(given, "=")
		if !found {
			return nil, misused("--secret-file: must have the form FIELD=PATH")
		}
		err := read.add("--secret-file", id, func() ([]byte, error) { return regularfile.Read(path, maxSecret+2) })
		if err != nil {
			return nil, err
		}
	}
	if f.input != "" {
		err := read.add("--secret-stdin", f.input, func() ([]byte, error) {
			if isTerminal(input) {
				return nil, errors.New("is a terminal, which would show the secret: leave out --secret-stdin, and the command asks")
			}
			return regularfile.ReadAll(input, maxSecret+2)
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range f.cleared {
		if err := read.check("--clear", id); err != nil {
			return nil, err
		}
		read.values = append(read.values, &authmaterialv1.FieldValue{Field: id})
	}
	return read, nil
}

// addText adds the value of the flag --value.
func (v *fieldValues) addText(given string) error {
	id, text, found := strings.Cut(given, "=")
	if !found {
		return misused("--value: must have the form FIELD=TEXT")
	}
	if err := v.check("--value", id); err != nil {
		return err
	}
	if field := v.field(id); field.GetSecret() {
		return misused("--value: %[1]s is a secret, and other users of this machine can read the flags of a program\n"+
			"  Use %[2]s, or a terminal.", printable(fieldName(field)), strings.Join(v.secretFlags(id), ", "))
	}
	v.values = append(v.values, &authmaterialv1.FieldValue{Field: id, Value: text})
	return nil
}

// secretFlags returns the flags that can give a secret.
func (v *fieldValues) secretFlags(id string) []string {
	flags := []string{"--secret-file " + id + "=PATH", "--secret-stdin " + id}
	if v.environment {
		flags = append(flags, "--secret-env "+id+"=NAME")
	}
	return flags
}

// add makes the content of a file or of standard input the value of a field.
func (v *fieldValues) add(flag, id string, read func() ([]byte, error)) error {
	if err := v.check(flag, id); err != nil {
		return err
	}
	data, err := read()
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case err != nil:
		return fmt.Errorf("%s: the input for field %s %w", flag, id, err)
	case text == "":
		return fmt.Errorf("%s: the value of field %s is empty", flag, id)
	}
	v.values = append(v.values, &authmaterialv1.FieldValue{Field: id, Value: text})
	return nil
}

// check returns an error if the auth method has no field with this ID, or if it has a value already.
func (v *fieldValues) check(flag, id string) error {
	if v.field(id) == nil {
		var known []string
		for _, field := range v.method.GetFields() {
			known = append(known, field.GetFieldId())
		}
		return misused("%s: there is no such field; the fields are: %s", flag, strings.Join(known, ", "))
	}
	if v.get(id) != nil {
		return misused("%s: field %s has two values", flag, id)
	}
	return nil
}

func (v *fieldValues) field(id string) *authmaterialv1.Field {
	for _, field := range v.method.GetFields() {
		if field.GetFieldId() == id {
			return field
		}
	}
	return nil
}

func (v *fieldValues) get(id string) *authmaterialv1.FieldValue {
	at := slices.IndexFunc(v.values, func(value *authmaterialv1.FieldValue) bool { return value.GetField() == id })
	if at < 0 {
		return nil
	}
	return v.values[at]
}

// missing returns an error if a required field has no value.
func (v *fieldValues) missing() error {
	text := ""
	for _, field := range v.method.GetFields() {
		if !field.GetRequired() || v.get(field.GetFieldId()) != nil {
			continue
		}
		flag := "--value " + field.GetFieldId() + "=TEXT"
		if field.GetSecret() {
			flag = strings.Join(v.secretFlags(field.GetFieldId()), " or ")
		}
		text += "\n  " + printable(fieldName(field)) + " is required: use " + flag
	}
	if text != "" {
		return misused("values are missing, and there is no terminal to ask for them:%s", text)
	}
	return nil
}

// ask asks a person for the values of the fields that `wanted` selects, and shows the help of each
// field. If the person only presses Enter, a field keeps the value that it already has.
func (v *fieldValues) ask(p *prompter, wanted func(*authmaterialv1.Field) bool) error {
	if !slices.ContainsFunc(v.method.GetFields(), wanted) {
		return nil
	}
	if link := v.method.GetDocumentationUrl(); link != "" {
		fmt.Fprintf(p, "\nThe provider's documentation: %s\n", printable(link))
	}
	for _, field := range v.method.GetFields() {
		if !wanted(field) {
			continue
		}
		fmt.Fprintf(p, "\n%s\n", p.bold(printable(field.GetDisplayName())))
		p.printWrapped("  ", field.GetDescription())
		if err := v.askField(p, field); err != nil {
			return err
		}
	}
	fmt.Fprintln(p)
	return nil
}

func (v *fieldValues) askField(p *prompter, field *authmaterialv1.Field) error {
	id := field.GetFieldId()
	given, question, read := v.get(id), id, p.askSecret
	if !field.GetSecret() {
		read = func(question string) (string, error) { return p.ask(question, "") }
	}
	kept := given != nil || v.isPresent(id)
	switch public := v.present.GetPublicValues()[id]; {
	case public != "" && given == nil:
		question += " (Enter keeps " + printable(public) + ")"
	case kept:
		question += " (Enter keeps it)"
	case !field.GetRequired():
		question += " (optional)"
	}
	for {
		text, err := read(question)
		switch {
		case err != nil:
			return err
		case text != "" && given != nil:
			given.Value = text
			return nil
		case text != "":
			v.values = append(v.values, &authmaterialv1.FieldValue{Field: id, Value: text})
			return nil
		case kept || !field.GetRequired():
			return nil
		}
		fmt.Fprintln(p, "  A value is needed.")
	}
}

// isPresent reports whether the credential has a value for a field already.
func (v *fieldValues) isPresent(id string) bool {
	return v.present.GetPublicValues()[id] != "" || slices.Contains(v.present.GetSecretFieldsSet(), id)
}
