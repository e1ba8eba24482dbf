package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const createHelp = `Creates a managed credential with version 1, which callers get at once. At a terminal, the
command asks for everything that is not given by a flag, shows where to find each value, hides
secrets, and offers to verify the values at the provider before they are stored. A refresh token
that the provider replaces can be verified only after it is stored: 'broker credentials verify ID'.

` + valueHelp + `

Without an ID, the broker makes one from the name, such as mail-production for "Mail production".
With --verify, nothing is stored unless the provider accepts the values.`

const createExamples = `  broker credentials create
  broker credentials create mail --provider sendpulse --auth-method api_key --name Mail \
      --secret-file api_key=key.txt --verify
  vault read -field=key mail | broker credentials create mail --provider sendpulse \
      --auth-method api_key --name Mail --secret-stdin api_key`

type createFlags struct {
	valueFlags
	verifyFlags
	texts              textFlags
	provider, method   string
	hosts              []string
	disabled, validate bool
	replaceToken       bool
}

func newCredentialsCreate() *cobra.Command {
	f := &createFlags{}
	command := &cobra.Command{
		Use:     "create [ID]",
		Short:   "Creates a credential, from answers at a terminal or from flags",
		Long:    createHelp,
		Example: createExamples,
		Args:    cobra.MaximumNArgs(1),
	}
	flags := command.Flags()
	flags.StringVar(&f.provider, "provider", "", "the `ID` of the provider")
	flags.StringVar(&f.method, "auth-method", "", "the `ID` of the auth method; may be left out if the provider has only one")
	f.texts.addFlags(command)
	f.valueFlags.addFlags(command, false)
	flags.StringArrayVar(&f.hosts, "allowed-host", nil, "a `HOST` in addition to the provider's hosts; the broker's store.allowed_hosts must allow it")
	flags.BoolVar(&f.disabled, "disabled", false, "do not give the credential to callers yet")
	flags.BoolVar(&f.validate, "validate-only", false, "check everything, but store nothing")
	f.verifyFlags.addFlags(command)
	addReplaceFlag(command, &f.replaceToken, "with --verify, verify even if the provider then ends the token of other credentials for the same account")
	return managing(command, f.create)
}

func (f *createFlags) create(ctx context.Context, m *manager, args []string) error {
	request := &authmaterialv1.CreateCredentialRequest{AllowedHosts: f.hosts}
	if len(args) == 1 {
		request.CredentialId = args[0]
	}
	credential, err := f.describe(ctx, m)
	if err != nil {
		return err
	}
	request.Credential = credential
	values, err := f.read(m.method, m.input)
	if err != nil {
		return err
	}
	if m.prompter == nil {
		if err := values.missing(); err != nil {
			return err
		}
	}
	verified, err := f.settle(ctx, m, request, values)
	if err != nil {
		return err
	}
	request.Values, request.ValidateOnly = values.values, f.validate
	response, err := m.CreateCredential(ctx, request)
	if err != nil {
		return err
	}
	return f.report(m, response.GetCredential(), verified)
}

func (f *createFlags) report(m *manager, created *authmaterialv1.Credential, verified string) error {
	return m.print(created, func() error {
		id := created.GetCredentialId()
		if f.validate {
			_, err := fmt.Fprintf(m.out, "%s can be created; nothing was stored\n", id)
			return err
		}
		_, err := fmt.Fprintf(m.out, "%s: created with version 1%s\n  Services get it by this ID: broker get %[1]s\n", id, verified)
		return err
	})
}

// describe returns the new credential without its values, and sets m.method.
func (f *createFlags) describe(ctx context.Context, m *manager) (*authmaterialv1.Credential, error) {
	provider, err := m.chooseProvider(ctx, f.provider)
	if err != nil {
		return nil, err
	}
	method, err := m.chooseMethod(provider, f.method)
	if err != nil {
		return nil, err
	}
	m.method = method
	credential := &authmaterialv1.Credential{
		Provider: provider.GetProviderId(), AuthMethod: method.GetAuthMethodId(), Disabled: f.disabled,
	}
	if _, err := f.texts.apply(credential); err != nil {
		return nil, err
	}
	if m.prompter == nil {
		if credential.GetDisplayName() == "" {
			return nil, misused("a name is needed, and there is no terminal to ask for it: use --name")
		}
		return credential, nil
	}
	if credential.GetDisplayName() == "" {
		if credential.DisplayName, err = m.prompter.askRequired("Name"); err != nil {
			return nil, err
		}
		if credential.GetDescription() == "" {
			credential.Description, err = m.prompter.ask("Description (optional)", "")
		}
	}
	return credential, err
}

func (m *manager) chooseProvider(ctx context.Context, id string) (*authmaterialv1.Provider, error) {
	response, err := m.ListProviders(ctx, &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return nil, err
	}
	var ids []string
	var options []option
	for _, provider := range response.GetProviders() {
		if provider.GetProviderId() == id {
			return provider, nil
		}
		ids = append(ids, provider.GetProviderId())
		options = append(options, option{provider.GetProviderId(), provider.GetDisplayName()})
	}
	switch {
	case id != "":
		return nil, misused("--provider: there is no provider %q; %s", id, otherProvider(id, ids))
	case m.prompter == nil:
		return nil, misused("a provider is needed, and there is no terminal to ask for it: use --provider; 'broker providers' prints all of them")
	}
	chosen, err := m.prompter.choose("Provider", options)
	if err != nil {
		return nil, err
	}
	return response.GetProviders()[chosen], nil
}

func (m *manager) chooseMethod(provider *authmaterialv1.Provider, id string) (*authmaterialv1.AuthMethod, error) {
	methods := provider.GetAuthMethods()
	var options []option
	for _, method := range methods {
		if method.GetAuthMethodId() == id {
			return method, nil
		}
		options = append(options, option{method.GetAuthMethodId(), method.GetDisplayName()})
	}
	switch {
	case id != "":
		return nil, misused("--auth-method: %s has no auth method %q; it has: %s", provider.GetDisplayName(), id, methodIDs(provider))
	case len(methods) == 1:
		return methods[0], nil
	case m.prompter == nil:
		return nil, misused("--auth-method is needed, because %s has several: %s", provider.GetDisplayName(), methodIDs(provider))
	}
	chosen, err := m.prompter.choose("Auth method", options)
	if err != nil {
		return nil, err
	}
	return methods[chosen], nil
}

// textFlags are the flags for the settings of a credential that do not belong to a version.
type textFlags struct {
	command                    *cobra.Command
	name, description, expires string
	labels                     map[string]string
	keepWarm                   bool
}

func (f *textFlags) addFlags(command *cobra.Command) {
	f.command = command
	flags := command.Flags()
	flags.StringVar(&f.name, "name", "", "the name for display")
	flags.StringVar(&f.description, "description", "", "what the credential is for")
	flags.StringToStringVar(&f.labels, "label", nil, "a label, as `KEY=TEXT`")
	flags.BoolVar(&f.keepWarm, "keep-warm", false, "keep the token current even if nobody uses it")
	flags.StringVar(&f.expires, "secret-expires", "", "the `TIME` when the secret expires at the provider, such as 2027-01-31T00:00:00Z, or never")
}

// apply sets the fields of a credential that flags name, and returns the names of these fields.
func (f *textFlags) apply(credential *authmaterialv1.Credential) (fields []string, err error) {
	changed := f.command.Flags().Changed
	if changed("name") {
		credential.DisplayName, fields = f.name, append(fields, "display_name")
	}
	if changed("description") {
		credential.Description, fields = f.description, append(fields, "description")
	}
	if changed("label") {
		if credential.Labels == nil {
			credential.Labels = map[string]string{}
		}
		for key, value := range f.labels {
			credential.Labels[key] = value
		}
		fields = append(fields, "labels")
	}
	if changed("keep-warm") {
		credential.KeepWarm, fields = f.keepWarm, append(fields, "keep_warm")
	}
	if changed("secret-expires") {
		fields = append(fields, "secret_expire_time")
		if credential.SecretExpireTime = nil; f.expires == "never" {
			return fields, nil
		}
		at, err := time.Parse(time.RFC3339, f.expires)
		if err != nil {
			return nil, misused("--secret-expires: must be a time such as 2027-01-31T00:00:00Z, or never")
		}
		credential.SecretExpireTime = timestamppb.New(at)
	}
	return fields, nil
}
