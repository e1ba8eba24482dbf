package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const listHelp = `Lists the credentials of a running broker that you may view, declared and managed, sorted by ID.
The state is what the answering replica knows.

With --config FILE, the command lists the credentials of a configuration file, in their order
there. No broker needs to run then, and no secret is read: environment variables and files with
values may be missing. Problems with the form of the file, its providers and its credentials are
reported as by 'broker check', which checks the whole file. The JSON has the keys of the
configuration file, except 'values'.

The table prints U+FFFD in place of characters that a terminal does not show.`

type listFlags struct {
	config, provider, filter string
	labels                   map[string]string
	deleted                  bool
}

func newCredentialsList() *cobra.Command {
	f := &listFlags{}
	command := &cobra.Command{
		Use:   "list",
		Short: "Lists credentials, of a broker or of a configuration file",
		Long:  listHelp,
		Example: `  broker credentials list
  broker credentials list --provider sendpulse --label team=growth
  broker credentials list --filter 'display_name:"mail" AND disabled = true' -o json
  broker credentials list --config broker.yaml`,
		Args: noArgs,
	}
	addConfigFlag(command, &f.config, "list the credentials of this configuration file, without a broker")
	flags := command.Flags()
	flags.StringVar(&f.provider, "provider", "", "list only credentials of the provider with this `ID`")
	flags.StringToStringVar(&f.labels, "label", nil, "list only credentials with this label, as `KEY=TEXT`")
	flags.StringVar(&f.filter, "filter", "", "list only credentials that match this `FILTER`, in the form of ListCredentials")
	flags.BoolVar(&f.deleted, "deleted", false, "also list deleted credentials, which can be restored")
	managing(command, f.list)
	check, call := command.PreRunE, command.RunE
	command.PreRunE = func(command *cobra.Command, args []string) error {
		if f.config == "" {
			return check(command, args)
		}
		return nil
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		if f.config == "" {
			return call(command, args)
		}
		format := command.Flags().Lookup("output").Value.String()
		return explained(func(*cobra.Command, []string) error {
			return listDeclared(newScreen(command.OutOrStdout()), f.config, format)
		})(command, args)
	}
	for _, name := range []string{"provider", "label", "filter", "deleted"} {
		command.MarkFlagsMutuallyExclusive("config", name)
	}
	return command
}

func (f *listFlags) list(ctx context.Context, m *manager, _ []string) error {
	all, err := m.list(ctx, &authmaterialv1.ListCredentialsRequest{Filter: f.condition(), ShowDeleted: f.deleted})
	if err != nil {
		return err
	}
	return m.print(all, func() error {
		var table [][]string
		for _, c := range all.GetCredentials() {
			table = append(table, []string{
				c.GetCredentialId(), cmp.Or(c.GetDisplayName(), "-"), c.GetProvider(), stateOf(c), versionOf(c), cmp.Or(pairs(c.GetLabels()), "-"),
			})
		}
		return m.out.printTable([]string{"ID", "NAME", "PROVIDER", "STATE", "VERSION", "LABELS"}, table)
	})
}

// list returns the credentials of all pages.
func (m *manager) list(ctx context.Context, request *authmaterialv1.ListCredentialsRequest) (*authmaterialv1.ListCredentialsResponse, error) {
	all := &authmaterialv1.ListCredentialsResponse{}
	request.PageSize = maxPage
	for {
		page, err := m.ListCredentials(ctx, request)
		if err != nil {
			return nil, err
		}
		all.Credentials = append(all.Credentials, page.GetCredentials()...)
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return all, nil
		}
	}
}

// condition combines the flags --provider, --label and --filter into one filter.
func (f *listFlags) condition() string {
	var all []string
	if f.provider != "" {
		all = append(all, fmt.Sprintf("provider = %q", f.provider))
	}
	for _, key := range slices.Sorted(maps.Keys(f.labels)) {
		all = append(all, fmt.Sprintf("labels.%s = %q", key, f.labels[key]))
	}
	if f.filter != "" {
		all = append(all, f.filter)
	}
	return strings.Join(all, " AND ")
}

func newCredentialsShow() *cobra.Command {
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Shows a credential, without its secrets",
		Long: `Shows everything about a credential except its secrets, which the broker never returns.
'broker status ID' shows what is served now, and why.`,
		Example: `  broker credentials show mail
  broker credentials show mail -o yaml`,
	}
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		credential, err := m.credential(ctx, args[0])
		if err != nil {
			return err
		}
		return m.print(credential, func() error {
			m.out.printRows("", credentialRows(credential, m.out.terminal))
			return nil
		})
	})
}
