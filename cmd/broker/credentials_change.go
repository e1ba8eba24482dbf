package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const editHelp = `Changes what people write about a credential, and whether callers get it. Secrets are changed by
'broker credentials rotate'. At a terminal and without flags, the command asks for the name and
the description.`

type editFlags struct {
	texts           textFlags
	removed         []string
	enable, disable bool
}

func newCredentialsEdit() *cobra.Command {
	f := &editFlags{}
	command := &cobra.Command{
		Use:   "edit ID",
		Short: "Changes the name, labels and settings of a credential",
		Long:  editHelp,
		Example: `  broker credentials edit mail --name 'Mail of all' --label team=growth --remove-label env
  broker credentials edit mail --disable`,
	}
	f.texts.addFlags(command)
	flags := command.Flags()
	flags.StringArrayVar(&f.removed, "remove-label", nil, "the `KEY` of a label to remove")
	flags.BoolVar(&f.disable, "disable", false, "do not give the credential to callers")
	flags.BoolVar(&f.enable, "enable", false, "give the credential to callers again")
	command.MarkFlagsMutuallyExclusive("enable", "disable")
	return managing(command, f.edit)
}

func (f *editFlags) edit(ctx context.Context, m *manager, args []string) error {
	credential, err := m.credential(ctx, args[0])
	if err != nil {
		return err
	}
	fields, err := f.change(m, credential)
	if err != nil {
		return err
	}
	response, err := m.UpdateCredential(ctx, &authmaterialv1.UpdateCredentialRequest{
		Credential: credential, UpdateMask: &fieldmaskpb.FieldMask{Paths: fields}, Etag: credential.GetEtag(),
	})
	if err != nil {
		return err
	}
	return m.print(response.GetCredential(), func() error {
		_, err := fmt.Fprintf(m.out, "%s: changed\n", args[0])
		return err
	})
}

// change applies the flags, or answers at a terminal, and returns the names of the changed fields.
func (f *editFlags) change(m *manager, credential *authmaterialv1.Credential) ([]string, error) {
	fields, err := f.texts.apply(credential)
	if err != nil {
		return nil, err
	}
	for _, key := range f.removed {
		delete(credential.GetLabels(), key)
	}
	if len(f.removed) > 0 && !slices.Contains(fields, "labels") {
		fields = append(fields, "labels")
	}
	if f.enable || f.disable {
		credential.Disabled, fields = f.disable, append(fields, "disabled")
	}
	switch {
	case len(fields) > 0:
		return fields, nil
	case m.prompter == nil:
		return nil, misused("nothing to change: use flags, see --help")
	}
	if credential.DisplayName, err = m.prompter.ask("Name", credential.GetDisplayName()); err != nil {
		return nil, err
	}
	credential.Description, err = m.prompter.ask("Description", credential.GetDescription())
	return []string{"display_name", "description"}, err
}

func newCredentialsDelete() *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use:   "delete ID",
		Short: "Deletes a credential",
		Long: `Deletes a credential: from then on, callers get CREDENTIAL_NOT_FOUND. It can be restored within
30 days with 'broker credentials restore ID'. Until then, no other credential can have its ID.`,
		Example: `  broker credentials delete mail`,
	}
	command.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		credential, err := m.credential(ctx, args[0])
		if err != nil {
			return err
		}
		if err := m.confirm(yes, fmt.Sprintf("Delete %s (%s), so that no caller gets it?", args[0], credential.GetDisplayName())); err != nil {
			return err
		}
		response, err := m.DeleteCredential(ctx, &authmaterialv1.DeleteCredentialRequest{CredentialId: args[0], Etag: credential.GetEtag()})
		if err != nil {
			return err
		}
		return m.print(response.GetCredential(), func() error {
			_, err := fmt.Fprintf(m.out, "%s: deleted\n  To restore it within 30 days: broker credentials restore %[1]s\n", args[0])
			return err
		})
	})
}

func newCredentialsRestore() *cobra.Command {
	command := &cobra.Command{
		Use:     "restore ID",
		Short:   "Restores a deleted credential",
		Long:    `Restores a credential that was deleted less than 30 days ago, with all its versions.`,
		Example: `  broker credentials restore mail`,
	}
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		response, err := m.UndeleteCredential(ctx, &authmaterialv1.UndeleteCredentialRequest{CredentialId: args[0]})
		if err != nil {
			return err
		}
		return m.print(response.GetCredential(), func() error {
			_, err := fmt.Fprintf(m.out, "%s: restored; callers get version %d\n", args[0], response.GetCredential().GetActiveVersion())
			return err
		})
	})
}
