package main

import (
	"errors"
	"io"
	"os"
	"strings"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
)

// credential returns a credential with the values that the flags and the person give.
func (f *tryFlags) credential(
	provider *catalog.Provider, method *catalog.AuthMethod, input io.Reader, prompter *prompter,
) (*credentials.Credential, error) {
	given, err := f.read(formOf(method), input)
	if err != nil {
		return nil, err
	}
	for _, variable := range f.variables {
		if err := given.addVariable(variable); err != nil {
			return nil, err
		}
	}
	if prompter == nil {
		err = given.missing()
	} else {
		present := given.values
		err = given.ask(prompter, func(field *authmaterialv1.Field) bool { return !contains(present, field.GetFieldId()) })
	}
	if err != nil {
		return nil, err
	}
	credential := &credentials.Credential{
		ID: "tried", DisplayName: "tried", Provider: provider, Method: method, Values: map[string]secret.Text{},
	}
	plain := map[string]string{}
	for _, value := range given.values {
		plain[value.GetField()] = value.GetValue()
		credential.Values[value.GetField()] = secret.New(value.GetValue())
	}
	if credential.AllowedHosts, err = provider.Hosts(plain, f.hosts); err != nil {
		return nil, err
	}
	var problems []error
	for _, problem := range strategies.Check(credential) {
		problems = append(problems, problem)
	}
	return credential, errors.Join(problems...)
}

// addVariable adds the value of an environment variable, as the flag --secret-env says.
func (v *fieldValues) addVariable(given string) error {
	id, name, found := strings.Cut(given, "=")
	if !found {
		return misused("--secret-env: must have the form FIELD=NAME")
	}
	return v.add("--secret-env", id, func() ([]byte, error) {
		value, found := os.LookupEnv(name)
		if !found {
			return nil, errors.New("is an environment variable that is not set")
		}
		return []byte(value), nil
	})
}

// formOf returns the fields of an auth method in the form of the API. A field of which the definition
// does not state whether it is secret is treated as a secret.
func formOf(method *catalog.AuthMethod) *authmaterialv1.AuthMethod {
	form := &authmaterialv1.AuthMethod{AuthMethodId: method.ID, DisplayName: method.DisplayName, DocumentationUrl: method.DocumentationURL}
	for _, field := range method.Fields {
		form.Fields = append(form.Fields, &authmaterialv1.Field{
			FieldId: field.ID, DisplayName: field.DisplayName, Description: field.Description, Required: field.Required,
			Secret: field.Secret || !field.SecretStated,
		})
	}
	return form
}
