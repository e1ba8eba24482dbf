package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const tryHelp = `Tries a provider's definition, without a running broker: makes the token request and the
verification, and prints what was sent, and how the answers were understood. The output shows no
secret, token or other value of an answer that may be one.

FILE has one definition, with the keys of an item of 'providers' in a configuration file. The
requests go only to addresses on the public internet, unless the definition has
allow_private_addresses.

` + valueHelp + ` --secret-env FIELD=NAME takes a value from the environment variable NAME.

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
	refreshFile  string
}

func newProvidersTry() *cobra.Command {
	f := &tryFlags{valueFlags: valueFlags{environment: true}}
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
	addReplaceFlag(command, &f.replaceToken, "request a token even if that ends the token in use")
	flags.StringVar(&f.refreshFile, "refresh-token-file", "", "a new `FILE` for the next refresh token, if the provider replaces refresh tokens")
	must(command.MarkFlagFilename("refresh-token-file"))
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
	if err := f.confirmReplacement(method, prompter); err != nil {
		return err
	}
	credential, err := f.credential(provider, method, input, prompter)
	if err != nil {
		return err
	}
	out := newScreen(command.OutOrStdout())
	if !method.ReplacesRefreshToken() {
		return rehearse(ctx, out, credential, nil)
	}
	kept, err := newRefreshFile(f.refreshFile)
	if err != nil {
		return err
	}
	err = rehearse(ctx, out, credential, kept)
	return errors.Join(kept.finish(out), err)
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

// confirmReplacement asks before a token request that has lasting effects.
func (f *tryFlags) confirmReplacement(method *catalog.AuthMethod, prompter *prompter) error {
	switch {
	case method.ReplacesRefreshToken() && f.refreshFile == "":
		return misused("the provider replaces the refresh token when it is used: name a file for the next one with --refresh-token-file FILE")
	case !method.EndsPrevious() || f.replaceToken:
		return nil
	case prompter == nil:
		return misused("the token request ends the token of this account that is in use: to go on nevertheless, add --allow-token-replacement")
	}
	fmt.Fprintln(prompter, "The token request ends the token of this account that is in use.")
	goOn, err := prompter.confirm("Go on?", false)
	if err == nil && !goOn {
		err = errors.New("nothing was sent")
	}
	return err
}
