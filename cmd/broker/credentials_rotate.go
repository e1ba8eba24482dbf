package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const rotateHelp = `Replaces secrets of a credential: adds a version with the new values, optionally verifies it,
and activates it. The old version stays stored, so that 'broker credentials activate' can restore
it. A field without a new value keeps its value.

` + valueHelp + `

With --verify, only a version that the provider accepts is activated. A version that is not
activated stays stored too: erase it with 'broker credentials destroy'.

To try the new values with some callers first: add the version with --activate=false, and then
run 'broker credentials activate ID VERSION --callers PATTERN'.

Exit status: 0 if the version is active or was added as asked, otherwise 1.`

type rotateFlags struct {
	valueFlags
	verifyFlags
	activate bool
	hosts    []string
}

func newCredentialsRotate() *cobra.Command {
	f := &rotateFlags{}
	command := &cobra.Command{
		Use:   "rotate ID",
		Short: "Replaces the secrets of a credential",
		Long:  rotateHelp,
		Example: `  broker credentials rotate mail
  broker credentials rotate mail --secret-file api_key=new.txt --verify
  broker credentials rotate mail --secret-file api_key=new.txt --activate=false`,
	}
	f.valueFlags.addFlags(command, true)
	f.verifyFlags.addFlags(command)
	command.Flags().BoolVar(&f.activate, "activate", true, "give the new version to all callers")
	command.Flags().StringArrayVar(&f.hosts, "allowed-host", nil, "a `HOST` in addition to the provider's hosts; every secret must be given again")
	return managing(command, f.rotate)
}

func (f *rotateFlags) rotate(ctx context.Context, m *manager, args []string) error {
	credential, err := m.credential(ctx, args[0])
	if err != nil {
		return err
	}
	provider, err := m.useMethod(ctx, credential.GetProvider(), credential.GetAuthMethod())
	if err != nil {
		return err
	}
	values, err := f.read(m.method, m.input)
	if err != nil {
		return err
	}
	values.present = credential
	if err := f.askValues(m, provider, values); err != nil {
		return err
	}
	verify, err := f.wanted(m)
	if err != nil {
		return err
	}
	response, err := m.CreateCredentialVersion(ctx, &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: args[0], Etag: credential.GetEtag(), Values: values.values, AllowedHosts: f.hosts,
		Verify: verify, AcceptInconclusive: f.acceptInconclusive, Activate: f.activate,
	})
	if err != nil {
		return err
	}
	return f.conclude(ctx, m, response)
}

// askValues asks for new values at a terminal, unless flags give some.
func (f *rotateFlags) askValues(m *manager, provider *authmaterialv1.Provider, values *fieldValues) error {
	if m.method.GetRotation() == authmaterialv1.Rotation_ROTATION_REVOKES_PREVIOUS {
		m.messages.printWrapped("", provider.GetDisplayName()+" revokes the old secret when it issues a new one. "+
			"Callers with old material are rejected until the new version is active. A rollback will probably not work.")
	}
	if m.prompter != nil && len(values.values) == 0 {
		if err := values.ask(m.prompter, func(*authmaterialv1.Field) bool { return true }); err != nil {
			return err
		}
	}
	if len(values.values) == 0 && len(f.hosts) == 0 {
		return misused("there is no new value: use --secret-file, --secret-stdin or --value, or type it at a terminal")
	}
	return nil
}

// conclude prints what happened to the new version. If the verification was inconclusive, conclude
// offers at a terminal to activate the version.
func (f *rotateFlags) conclude(ctx context.Context, m *manager, response *authmaterialv1.CreateCredentialVersionResponse) error {
	version, credential := response.GetVersion(), response.GetCredential()
	result := version.GetVerification()
	if m.prompter != nil && f.activate && version.GetState() != authmaterialv1.VersionState_VERSION_STATE_ACTIVE && result.GetOutcome() == inconclusive {
		fmt.Fprintln(m.prompter, printable(outcome(result)))
		activate, err := m.prompter.confirm(fmt.Sprintf("Activate version %d nevertheless?", version.GetVersion()), false)
		if err != nil {
			return err
		}
		if activate {
			return m.activate(ctx, credential, version.GetVersion(), nil)
		}
	}
	err := m.print(response, func() error {
		_, err := fmt.Fprintln(m.out, printable(rotated(response)))
		return err
	})
	if err == nil && f.activate && version.GetState() != authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
		err = fmt.Errorf("version %d was not activated; callers still get version %d%s",
			version.GetVersion(), credential.GetActiveVersion(), whatNext(response))
	}
	return err
}

func rotated(response *authmaterialv1.CreateCredentialVersionResponse) string {
	version, id := response.GetVersion(), response.GetCredential().GetCredentialId()
	text := fmt.Sprintf("%s: version %d is stored", id, version.GetVersion())
	if version.GetState() == authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
		text = fmt.Sprintf("%s: version %d is active", id, version.GetVersion())
	}
	if result := version.GetVerification(); result != nil {
		text += "; its verification: " + outcome(result)
	}
	return text
}

// whatNext returns what to type after the broker stored a version, but did not activate it.
func whatNext(response *authmaterialv1.CreateCredentialVersionResponse) string {
	id, number := response.GetCredential().GetCredentialId(), response.GetVersion().GetVersion()
	if response.GetVersion().GetVerification().GetOutcome() == inconclusive {
		return fmt.Sprintf("\n  To activate it nevertheless: broker credentials activate %s %d", id, number)
	}
	return fmt.Sprintf("\n  Repeat the command with correct values, and erase this version: broker credentials destroy %s %d", id, number)
}
