package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func newCredentialsVersions() *cobra.Command {
	command := &cobra.Command{
		Use:   "versions ID",
		Short: "Lists the versions of a credential, the newest first",
		Long: `Lists the versions of a managed credential, the newest first, with the result of the latest
verification of each.`,
		Example: `  broker credentials versions mail`,
	}
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		response, err := m.ListCredentialVersions(ctx, &authmaterialv1.ListCredentialVersionsRequest{CredentialId: args[0]})
		if err != nil {
			return err
		}
		return m.print(response, func() error {
			var table [][]string
			for _, v := range response.GetVersions() {
				verified := "-"
				if v.GetVerification() != nil {
					verified = inWords(v.GetVerification().GetOutcome(), "VERIFICATION_OUTCOME_")
				}
				table = append(table, []string{
					fmt.Sprint(v.GetVersion()), inWords(v.GetState(), "VERSION_STATE_"), moment(v.GetCreateTime(), false), v.GetCreator(), verified,
				})
			}
			return m.out.printTable([]string{"VERSION", "STATE", "CREATED", "BY", "VERIFIED"}, table)
		})
	})
}

// versionCommand returns a command that changes one version of a credential.
func versionCommand(command *cobra.Command, change func(context.Context, *manager, *authmaterialv1.Credential, int32) error) *cobra.Command {
	command.Args = versionArgs
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		credential, err := m.credential(ctx, args[0])
		if err != nil {
			return err
		}
		number, _ := strconv.ParseInt(args[1], 10, 32) // versionArgs has checked the number
		return change(ctx, m, credential, int32(number))
	})
}

// versionArgs accepts a credential ID and the number of a version.
func versionArgs(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return misused("the ID of a credential and the number of a version are needed")
	}
	if number, err := strconv.ParseInt(args[1], 10, 32); err != nil || number < 1 {
		return misused("the version must be a number from 1")
	}
	return nil
}

func newCredentialsActivate() *cobra.Command {
	var callers []string
	command := &cobra.Command{
		Use:   "activate ID VERSION",
		Short: "Gives a version to all callers, or to some",
		Long: `Makes a version the active version, which all callers get. To roll back, activate an older
version. With --callers, only the callers whose name matches one of the patterns get the
version (the canary); the others keep the active version, until the canary is activated for all
or withdrawn.`,
		Example: `  broker credentials activate mail 3
  broker credentials activate mail 4 --callers 'token:ci-*' --callers uid:1000`,
	}
	command.Flags().StringArrayVar(&callers, "callers", nil, "a `PATTERN` of callers that get the version; * matches any text")
	return versionCommand(command, func(ctx context.Context, m *manager, credential *authmaterialv1.Credential, number int32) error {
		return m.activate(ctx, credential, number, callers)
	})
}

func (m *manager) activate(ctx context.Context, credential *authmaterialv1.Credential, number int32, callers []string) error {
	response, err := m.ActivateCredentialVersion(ctx, &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: credential.GetCredentialId(), Version: number, Etag: credential.GetEtag(), Callers: callers,
	})
	if err != nil {
		return err
	}
	if response.GetWarning() != "" {
		m.messages.printWrapped("", "warning: "+response.GetWarning())
	}
	return m.print(response.GetCredential(), func() error {
		text := fmt.Sprintf("%s: version %d is active; version %d was active before", credential.GetCredentialId(), number, credential.GetActiveVersion())
		switch {
		case len(callers) == 0 && number == credential.GetActiveVersion():
			text = fmt.Sprintf("%s: version %d is active already", credential.GetCredentialId(), number)
		case len(callers) > 0:
			text = fmt.Sprintf("%s: version %d is the canary for %s; the others get version %d",
				credential.GetCredentialId(), number, strings.Join(callers, ", "), credential.GetActiveVersion())
		}
		_, err := fmt.Fprintln(m.out, printable(text))
		return err
	})
}

func newCredentialsWithdraw() *cobra.Command {
	command := &cobra.Command{
		Use:     "withdraw ID",
		Short:   "Ends the canary, so that all callers get the active version",
		Long:    `Ends the canary, so that all callers get the active version. The canary's version stays stored.`,
		Example: `  broker credentials withdraw mail`,
	}
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		credential, err := m.credential(ctx, args[0])
		if err != nil {
			return err
		}
		response, err := m.WithdrawCanary(ctx, &authmaterialv1.WithdrawCanaryRequest{CredentialId: args[0], Etag: credential.GetEtag()})
		if err != nil {
			return err
		}
		return m.print(response.GetCredential(), func() error {
			_, err := fmt.Fprintf(m.out, "%s: all callers get version %d\n", args[0], response.GetCredential().GetActiveVersion())
			return err
		})
	})
}

func newCredentialsDestroy() *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use:   "destroy ID VERSION",
		Short: "Erases the values of a version",
		Long: `Erases the values of a version for good. The active version and the canary cannot be destroyed.
Older backups still contain the values.`,
		Example: `  broker credentials destroy mail 2`,
	}
	command.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	return versionCommand(command, func(ctx context.Context, m *manager, credential *authmaterialv1.Credential, number int32) error {
		id := credential.GetCredentialId()
		if err := m.confirm(yes, fmt.Sprintf("Erase the values of version %d of %s for good?", number, id)); err != nil {
			return err
		}
		response, err := m.DestroyCredentialVersion(ctx, &authmaterialv1.DestroyCredentialVersionRequest{
			CredentialId: id, Version: number, Etag: credential.GetEtag(),
		})
		if err != nil {
			return err
		}
		return m.print(response.GetVersion(), func() error {
			_, err := fmt.Fprintf(m.out, "%s: the values of version %d are erased\n", id, number)
			return err
		})
	})
}

// confirm asks for confirmation of a change that is hard to undo, and returns an error unless the
// answer is yes.
func (m *manager) confirm(yes bool, question string) error {
	switch {
	case yes:
		return nil
	case m.prompter == nil:
		return misused("there is no terminal to ask for confirmation: use --yes")
	}
	confirmed, err := m.prompter.confirm(question, false)
	if err == nil && !confirmed {
		err = errCancelled
	}
	return err
}
