package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// completionTimeout is how long a shell waits for the broker when it completes a word.
const completionTimeout = time.Second

type completer = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing returns a function that asks a broker for the possible completions of a word. If the
// broker does not answer, there are no completions, because the command itself reports the failure.
func (m *manager) completing(ask func(ctx context.Context, command *cobra.Command, given []string) []cobra.Completion) completer {
	return func(command *cobra.Command, given []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if m.checkFlags(command.Flags()) != nil || m.tokenFile == "-" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		var found []cobra.Completion
		_ = m.call(ctx, func(ctx context.Context) error {
			found = ask(ctx, command, given)
			return nil
		})
		found = slices.DeleteFunc(found, func(word cobra.Completion) bool { return !strings.HasPrefix(word, begun) })
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(found) > 0 && strings.Contains(found[0], "=\t") { // the value follows
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return found, directive
	}
}

// addCompletions makes shells complete the arguments and the flags of a command.
func (m *manager) addCompletions(command *cobra.Command) {
	command.ValidArgsFunction = m.completing(m.arguments)
	for name, ask := range map[string]func(context.Context, *cobra.Command, []string) []cobra.Completion{
		"provider":     m.providers,
		"auth-method":  m.methods,
		"value":        m.fields(func(field *authmaterialv1.Field) bool { return !field.GetSecret() }, "="),
		"secret-file":  m.fields(func(*authmaterialv1.Field) bool { return true }, "="),
		"secret-stdin": m.fields(func(*authmaterialv1.Field) bool { return true }, ""),
		"clear":        m.fields(func(field *authmaterialv1.Field) bool { return !field.GetRequired() }, ""),
	} {
		if command.Flags().Lookup(name) != nil {
			must(command.RegisterFlagCompletionFunc(name, m.completing(ask)))
		}
	}
}

// arguments completes the ID of a credential and, after it, the number of a version.
func (m *manager) arguments(ctx context.Context, command *cobra.Command, given []string) (words []cobra.Completion) {
	switch wanted := strings.Fields(command.Use); {
	case len(given) == 0 && slices.Contains(wanted, "ID"):
		words = m.ids(ctx, command.Name() == "restore")
	case len(given) == 1 && slices.Contains(wanted, "VERSION"):
		response, _ := m.ListCredentialVersions(ctx, &authmaterialv1.ListCredentialVersionsRequest{CredentialId: given[0]})
		for _, version := range response.GetVersions() {
			if state := version.GetState(); state != authmaterialv1.VersionState_VERSION_STATE_DESTROYED {
				words = append(words, cobra.CompletionWithDesc(fmt.Sprint(version.GetVersion()), inWords(state, "VERSION_STATE_")))
			}
		}
	}
	return words
}

// ids returns the IDs of the first credentials that the caller may view.
func (m *manager) ids(ctx context.Context, deleted bool) (words []cobra.Completion) {
	response, _ := m.ListCredentials(ctx, &authmaterialv1.ListCredentialsRequest{PageSize: maxPage, ShowDeleted: deleted})
	for _, credential := range response.GetCredentials() {
		if !deleted || credential.GetDeleteTime() != nil {
			words = append(words, cobra.CompletionWithDesc(credential.GetCredentialId(), printable(credential.GetDisplayName())))
		}
	}
	return words
}

func (m *manager) providers(ctx context.Context, _ *cobra.Command, _ []string) (words []cobra.Completion) {
	response, _ := m.ListProviders(ctx, &authmaterialv1.ListProvidersRequest{})
	for _, provider := range response.GetProviders() {
		words = append(words, cobra.CompletionWithDesc(provider.GetProviderId(), printable(provider.GetDisplayName())))
	}
	return words
}

func (m *manager) methods(ctx context.Context, command *cobra.Command, _ []string) (words []cobra.Completion) {
	id := command.Flags().Lookup("provider").Value.String()
	response, _ := m.GetProvider(ctx, &authmaterialv1.GetProviderRequest{ProviderId: id})
	for _, method := range response.GetProvider().GetAuthMethods() {
		words = append(words, cobra.CompletionWithDesc(method.GetAuthMethodId(), printable(method.GetDisplayName())))
	}
	return words
}

// fields completes field IDs. The flag --provider, or the credential whose ID is the first argument,
// determines which fields there are.
func (m *manager) fields(wanted func(*authmaterialv1.Field) bool, suffix string) func(context.Context, *cobra.Command, []string) []cobra.Completion {
	return func(ctx context.Context, command *cobra.Command, given []string) (words []cobra.Completion) {
		var provider, method string
		if flag := command.Flags().Lookup("provider"); flag != nil {
			provider, method = flag.Value.String(), command.Flags().Lookup("auth-method").Value.String()
		} else if len(given) > 0 {
			credential, _ := m.credential(ctx, given[0])
			provider, method = credential.GetProvider(), credential.GetAuthMethod()
		}
		response, _ := m.GetProvider(ctx, &authmaterialv1.GetProviderRequest{ProviderId: provider})
		for _, known := range response.GetProvider().GetAuthMethods() {
			if method != "" && known.GetAuthMethodId() != method {
				continue
			}
			for _, field := range known.GetFields() {
				if wanted(field) {
					words = append(words, cobra.CompletionWithDesc(field.GetFieldId()+suffix, printable(field.GetDisplayName())))
				}
			}
		}
		return words
	}
}
