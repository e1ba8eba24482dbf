package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const tryHelp = `Tries a provider's definition, without a running broker: makes the token request and the
verification, and prints what was sent, and how the answers were understood. The output shows no
secret, token or other value of an answer that may be one.

FILE has one definition, with the keys of an item of 'providers' in a configuration file. The
requests go only to addresses on the public internet, unless the definition has
allow_private_addresses.

` + valueHelp + `

Exit status: 0 if the provider accepts the values or, without a verification in the definition, if
it issues a token; otherwise 1.`

const tryExamples = `  broker providers try acme.yaml
  broker providers try acme.yaml --auth-method oauth2 --value client_id=c1 --secret-env client_secret=ACME_SECRET`

const maxDefinition = 1 << 20 // bytes

type tryFlags struct {
	valueFlags
	method       string
	variables    []string // FIELD=NAME
	hosts        []string
	replaceToken bool
}

func newProvidersTry() *cobra.Command {
	f := new(tryFlags)
	command := &cobra.Command{
		Use:     "try FILE",
		Short:   "Makes the token request and the verification of a definition, and prints both",
		Long:    tryHelp,
		Example: tryExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return misused("the name of one file with a definition is needed")
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: explained(func(command *cobra.Command, args []string) error {
			return f.run(command.Context(), command.InOrStdin(), command, args[0])
		}),
	}
	flags := command.Flags()
	flags.StringVar(&f.method, "auth-method", "", "the `ID` of the auth method; may be left out if the provider has only one")
	f.addFlags(command, false)
	flags.StringArrayVar(&f.variables, "secret-env", nil, "an environment variable with the value of a field, as `FIELD=NAME`")
	flags.StringArrayVar(&f.hosts, "allowed-host", nil, "a `HOST` in addition to the provider's hosts")
	addReplaceFlag(command, &f.replaceToken, "request a token even if that ends the token in use, or uses up a refresh token")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "method":
			name = "auth-method"
		case "field":
			name = "value"
		}
		return pflag.NormalizedName(name)
	})
	return command
}

func (f *tryFlags) run(ctx context.Context, input io.Reader, command *cobra.Command, path string) error {
	provider, err := readDefinition(path)
	if err != nil {
		return err
	}
	prompter := newPrompter(input, newScreen(command.ErrOrStderr()))
	method, err := f.chooseMethod(provider, prompter)
	if err != nil {
		return err
	}
	credential, err := f.credential(provider, method, input, prompter)
	if err != nil {
		return err
	}
	if err := f.confirmReplacement(method, prompter); err != nil {
		return err
	}
	return rehearse(ctx, newScreen(command.OutOrStdout()), credential)
}

// readDefinition reads a file with the definition of one provider.
func readDefinition(path string) (*catalog.Provider, error) {
	text, err := regularfile.Read(path, maxDefinition)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	document := yamlfile.Parse(path, text)
	provider := catalog.Define(document.Root())
	return provider, document.Err()
}

func (f *tryFlags) chooseMethod(provider *catalog.Provider, prompter *prompter) (*catalog.AuthMethod, error) {
	var options []option
	var ids []string
	for _, method := range provider.AuthMethods {
		if method.ID == f.method {
			return method, nil
		}
		options, ids = append(options, option{method.ID, method.DisplayName}), append(ids, method.ID)
	}
	switch {
	case f.method != "":
		return nil, misused("--auth-method: %s has no auth method %q; it has: %s", provider.DisplayName, f.method, strings.Join(ids, ", "))
	case len(options) == 1:
		return provider.AuthMethods[0], nil
	case prompter == nil:
		return nil, misused("--auth-method is needed, because %s has several: %s", provider.DisplayName, strings.Join(ids, ", "))
	}
	chosen, err := prompter.choose("Auth method", options)
	if err != nil {
		return nil, err
	}
	return provider.AuthMethods[chosen], nil
}

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

// confirmReplacement asks before a token request that has lasting effects.
func (f *tryFlags) confirmReplacement(method *catalog.AuthMethod, prompter *prompter) error {
	effect := ""
	switch {
	case f.replaceToken || method.TokenRequest == nil:
		return nil
	case method.TokenRequest.Response.RefreshToken != nil:
		effect = "the token request uses up the refresh token, and its successor is not kept"
	case method.TokenRequest.EndsPrevious:
		effect = "the token request ends the token of this account that is in use"
	default:
		return nil
	}
	if prompter == nil {
		return misused("%s: to go on nevertheless, add --allow-token-replacement", effect)
	}
	fmt.Fprintln(prompter, strings.ToUpper(effect[:1])+effect[1:]+".")
	goOn, err := prompter.confirm("Go on?", false)
	if err == nil && !goOn {
		err = errors.New("nothing was sent")
	}
	return err
}
