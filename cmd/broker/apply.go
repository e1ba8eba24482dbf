package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
)

const fileHelp = `The file has a list 'credentials' with the keys of a configuration file; 'broker export' prints
such a file. Secrets come from {env: NAME} or {file: PATH}, and fields that are not secret also
from {value: TEXT}. A field or a list of hosts that the file does not name keeps its value, and
a credential that the file does not name stays as it is.

The broker never returns secrets, so the command cannot see whether a secret in the file is new.
For an existing credential, it sends the secrets only with --secrets, or if another value
changes.`

const applyHelp = `Creates and changes managed credentials so that they are as a file describes. A credential
whose values change gets a new version, which is activated.

` + fileHelp + `

Exit status: 0 if all credentials are as described, 1 if one could not be changed; the others are
changed nevertheless.`

const diffHelp = `Prints what 'broker apply' would change, and changes nothing. No secret is read or printed.

` + fileHelp + `

Exit status: 0 if nothing would change, 1 if something would, or if the command fails.`

type applyFlags struct {
	path            string
	secrets, verify bool
	inconclusive    bool
	replaceToken    bool
	dry             bool // only print what would change
}

func newApply() *cobra.Command {
	f := &applyFlags{}
	command := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Creates and changes credentials as a file describes",
		Long:  applyHelp,
		Example: `  broker export > credentials.yaml
  broker diff -f credentials.yaml
  broker apply -f credentials.yaml --verify`,
		Args: noArgs,
	}
	command.Flags().BoolVar(&f.verify, "verify", false, "store or activate new values only if the provider accepts them")
	command.Flags().BoolVar(&f.inconclusive, "accept-inconclusive", false, "with --verify, go on if the provider's answer does not show whether it accepts the values")
	addReplaceFlag(command, &f.replaceToken, "with --verify, verify a new credential even if the provider then ends the token of other credentials for the same account")
	return f.complete(command)
}

func newDiff() *cobra.Command {
	f := &applyFlags{dry: true}
	return f.complete(&cobra.Command{
		Use:     "diff -f FILE",
		Short:   "Prints what apply would change",
		Long:    diffHelp,
		Example: `  broker diff -f credentials.yaml`,
		Args:    noArgs,
	})
}

func (f *applyFlags) complete(command *cobra.Command) *cobra.Command {
	command.Flags().StringVarP(&f.path, "file", "f", "", "the `FILE` with the credentials (required)")
	command.Flags().BoolVar(&f.secrets, "secrets", false, "send the secrets in the file, although the credential already has secrets")
	must(command.MarkFlagRequired("file"))
	must(command.MarkFlagFilename("file", "yaml", "yml"))
	return managing(command, f.run)
}

// applied is the result for one credential, as -o json prints it.
type applied struct {
	ID      string   `json:"credential_id"`
	Action  string   `json:"action"`            // "create", "change", "none" or "failed"
	Changes []string `json:"changes,omitempty"` // without secrets
	Error   string   `json:"error,omitempty"`
}

// run compares all credentials with the file, and then makes the changes. If the file has problems,
// nothing is changed.
func (f *applyFlags) run(ctx context.Context, m *manager, _ []string) error {
	file, err := config.LoadManaged(f.path, config.Options{})
	if err != nil {
		return err
	}
	providers, err := m.ListProviders(ctx, &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	plans := &planner{m, file, providers.GetProviders(), f.secrets, f.dry}
	var all []*plan
	for _, item := range file.Credentials {
		all = append(all, plans.plan(ctx, item))
	}
	for _, warning := range file.Warnings() {
		fmt.Fprintln(m.messages, "warning:", warning)
	}
	if err := file.Err(); err != nil {
		return err
	}
	results, changes, failures := []applied{}, 0, 0
	for _, p := range all {
		if p.err == nil && !f.dry {
			m.method = p.method
			p.err = f.execute(ctx, m, p)
		}
		result := applied{ID: p.wanted.GetCredentialId(), Action: p.action(), Changes: p.changes}
		if p.err != nil {
			result.Error = m.explain(ctx, p.err).Error()
			failures++
		} else if result.Action != "none" {
			changes++
		}
		results = append(results, result)
	}
	err = f.print(m, results)
	switch {
	case err != nil:
		return err
	case failures > 0:
		return fmt.Errorf("%d of %d credentials failed", failures, len(results))
	case f.dry && changes > 0:
		return fmt.Errorf("%d of %d credentials would change", changes, len(results))
	}
	return nil
}

func (f *applyFlags) print(m *manager, results []applied) error {
	if m.format.value != "table" {
		return m.printPlain(map[string][]applied{"credentials": results})
	}
	names := map[string]string{"create": "created", "change": "changed", "none": "unchanged", "failed": "failed"}
	if f.dry {
		names["create"], names["change"] = "would be created", "would be changed"
	}
	for _, result := range results {
		fmt.Fprintf(m.out, "%s: %s\n", result.ID, names[result.Action])
		for _, change := range result.Changes {
			fmt.Fprintf(m.out, "  %s\n", printable(change))
		}
		if result.Error != "" {
			fmt.Fprintf(m.out, "  %s\n", strings.ReplaceAll(result.Error, "\n", "\n  "))
		}
	}
	return nil
}

// printPlain prints a value as JSON or YAML.
func (m *manager) printPlain(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if m.format.value == "yaml" {
		return printYAML(m.out, text)
	}
	return printJSON(m.out, json.RawMessage(text))
}

// execute makes the changes of a plan. It adds new values before it changes other settings: if the
// provider refuses the values, the settings do not change.
func (f *applyFlags) execute(ctx context.Context, m *manager, p *plan) error {
	if p.present == nil {
		return f.createPlanned(ctx, m, p)
	}
	etag := p.present.GetEtag()
	if p.newVersion {
		response, err := m.CreateCredentialVersion(ctx, &authmaterialv1.CreateCredentialVersionRequest{
			CredentialId: p.wanted.GetCredentialId(), Etag: etag, Values: p.values, AllowedHosts: p.hosts,
			Verify: f.verify, AcceptInconclusive: f.inconclusive, Activate: true,
		})
		if err != nil {
			return err
		}
		if response.GetVersion().GetState() != authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
			return fmt.Errorf("version %d is stored, but not active; its verification: %s%s",
				response.GetVersion().GetVersion(), outcome(response.GetVersion().GetVerification()), whatNext(response))
		}
		etag = response.GetCredential().GetEtag()
	}
	if len(p.fields) == 0 {
		return nil
	}
	_, err := m.UpdateCredential(ctx, &authmaterialv1.UpdateCredentialRequest{
		Credential: p.wanted, UpdateMask: &fieldmaskpb.FieldMask{Paths: p.fields}, Etag: etag,
	})
	return err
}

func (f *applyFlags) createPlanned(ctx context.Context, m *manager, p *plan) error {
	if f.verify {
		response, err := m.VerifyCredential(ctx, &authmaterialv1.VerifyCredentialRequest{
			CredentialId: p.wanted.GetCredentialId(), Provider: p.wanted.GetProvider(), AuthMethod: p.wanted.GetAuthMethod(),
			Values: p.values, AllowedHosts: p.hosts, AllowTokenReplacement: f.replaceToken,
		})
		if err != nil {
			return err
		}
		result := response.GetVerification()
		if kind := result.GetOutcome(); kind != accepted && (kind != inconclusive || !f.inconclusive) {
			return errors.New(outcome(result))
		}
	}
	_, err := m.CreateCredential(ctx, &authmaterialv1.CreateCredentialRequest{
		Credential: p.wanted, CredentialId: p.wanted.GetCredentialId(), Values: p.values, AllowedHosts: p.hosts,
	})
	return err
}

// existing returns the credential with the given ID, or nil if there is none. A credential that
// cannot be changed is an error.
func (m *manager) existing(ctx context.Context, id string) (*authmaterialv1.Credential, error) {
	credential, err := m.credential(ctx, id)
	switch {
	case status.Code(err) == codes.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case credential.GetOrigin() == authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_DECLARED:
		return nil, errors.New("the broker's configuration file declares a credential with this ID: change it there")
	case credential.GetDeleteTime() != nil:
		return nil, fmt.Errorf("the credential is deleted: restore it with 'broker credentials restore %s', or use another ID", id)
	}
	return credential, nil
}
