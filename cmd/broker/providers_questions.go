package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/draft"
)

// interview asks a person how an API authenticates its callers.
type interview struct {
	*prompter
	*draft.Definition
}

// methods are the places where an API may expect its key, and the function that asks for the rest.
var methods = []struct {
	option
	ask func(*interview) error
}{
	{option{"header", "In a header of its own, such as X-Api-Key"}, (*interview).askHeaders},
	{option{"bearer", "In the header Authorization, as Bearer KEY"}, (*interview).askBearer},
	{option{"basic", "By HTTP Basic authentication, with a user name and a password"}, (*interview).askBasic},
	{option{"basic_key", "By HTTP Basic authentication, with a key as the user name and no password"}, (*interview).askBasicKey},
	{option{"query", "In a query parameter"}, (*interview).askParams},
	{option{"token", "As a token, which OAuth client credentials obtain"}, (*interview).askToken},
}

func (i *interview) definition() (*draft.Definition, error) {
	name, err := i.askRequired("Name of the provider")
	if err != nil {
		return nil, err
	}
	_, err = i.askValid("Host of the API, or the URL of a call", "", func(text string) (err error) {
		i.Definition, err = draft.New(name, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	var options []option
	for _, method := range methods {
		options = append(options, method.option)
	}
	fmt.Fprintln(i, "\nWhere does the API expect the key?")
	chosen, err := i.choose("Place", options)
	if err != nil {
		return nil, err
	}
	if err := methods[chosen].ask(i); err != nil {
		return nil, err
	}
	fmt.Fprintln(i, "\nA request that changes nothing, costs little, and succeeds only with a valid key\nlets people verify a credential before services use it.")
	_, err = i.askValid("URL of a GET request that verifies (optional)", "", i.SetVerification)
	return i.Definition, err
}

// askValid asks until `check` accepts the answer.
func (i *interview) askValid(question, otherwise string, check func(string) error) (string, error) {
	for {
		text, err := i.ask(question, otherwise)
		if err != nil {
			return "", err
		}
		problem := check(text)
		if problem == nil {
			return text, nil
		}
		fmt.Fprintln(i, "  The answer", printable(problem.Error())+".")
	}
}

// addField asks for the ID of a field, and adds the field.
func (i *interview) addField(what, otherwise string, secret bool) (id string, err error) {
	id, err = i.askValid("Field for "+what, otherwise, i.CheckField)
	if err == nil {
		i.Method.Fields = append(i.Method.Fields, draft.Field{ID: id, Secret: secret})
	}
	return id, err
}

func (i *interview) askHeaders() error {
	i.Method.ID, i.Method.DisplayName = "api_key", "API key"
	return i.askPlacements("header", "X-Api-Key", draft.CheckHeader, &i.Method.Headers)
}

func (i *interview) askParams() error {
	i.Method.ID, i.Method.DisplayName = "api_key", "API key"
	return i.askPlacements("query parameter", "api_key", func(string) error { return nil }, &i.Method.QueryParams)
}

// askPlacements asks for headers or query parameters, until the person only presses Enter.
func (i *interview) askPlacements(what, otherwise string, check func(string) error, list *[]draft.Placement) error {
	question := "Name of the " + what
	for {
		name, err := i.askValid(question, otherwise, func(text string) error {
			known := func(p draft.Placement) bool { return strings.EqualFold(p.Name, text) }
			switch {
			case text == "":
				return nil
			case slices.ContainsFunc(*list, known):
				return errors.New("must differ from the names before")
			}
			return check(text)
		})
		if err != nil || name == "" {
			return err
		}
		secret, err := i.confirm("Is its value a secret?", draft.NamesSecret(name))
		if err != nil {
			return err
		}
		id, err := i.addField("its value", draft.FieldID(name), secret)
		if err != nil {
			return err
		}
		*list = append(*list, draft.Placement{Name: name, Value: "${" + id + "}"})
		question, otherwise = "Name of another "+what+" (Enter for none)", ""
	}
}

func (i *interview) askBearer() error {
	i.Method.ID, i.Method.DisplayName = "api_token", "API token"
	id, err := i.addField("the key", "api_token", true)
	i.authorize("Bearer ${" + id + "}")
	return err
}

func (i *interview) askBasic() error {
	i.Method.ID, i.Method.DisplayName = "basic", "User name and password"
	user, err := i.addField("the user name", "username", false)
	if err != nil {
		return err
	}
	password, err := i.addField("the password", "password", true)
	i.authorize("Basic ${base64(" + user + " + ':' + " + password + ")}")
	return err
}

func (i *interview) askBasicKey() error {
	i.Method.ID, i.Method.DisplayName = "api_key", "API key"
	id, err := i.addField("the key", "api_key", true)
	i.authorize("Basic ${base64(" + id + " + ':')}")
	return err
}

func (i *interview) authorize(value string) {
	i.Method.Headers = append(i.Method.Headers, draft.Placement{Name: "Authorization", Value: value})
}
