package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// completionTimeout is how long a shell waits for a broker that completes a word.
const completionTimeout = time.Second

// complete calls a broker to complete a word. Without an answer, it completes nothing: the command
// itself reports why.
func (m *manager) complete(command *cobra.Command, ask func(context.Context) []cobra.Completion) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if m.checkFlags(command.Flags()) == nil && m.tokenFile != "-" {
		m.timeout = completionTimeout
		ctx := command.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		_ = m.call(ctx, func(ctx context.Context) error { found = ask(ctx); return nil })
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeCredential completes the ID of a credential.
func (m *manager) completeCredential(command *cobra.Command, given []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return m.complete(command, func(ctx context.Context) (ids []cobra.Completion) {
		response, err := m.ListCredentials(ctx, &authmaterialv1.ListCredentialsRequest{PageSize: 1000})
		if err != nil {
			return nil
		}
		for _, credential := range response.GetCredentials() {
			if strings.HasPrefix(credential.GetCredentialId(), begun) {
				ids = append(ids, cobra.CompletionWithDesc(credential.GetCredentialId(), printable(credential.GetDisplayName())))
			}
		}
		return ids
	})
}
