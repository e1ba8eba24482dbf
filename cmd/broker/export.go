package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const exportHelp = `Prints managed credentials as YAML without secrets, in the form that 'broker apply' reads: the
credentials with the given IDs, or all that you may view. A comment names the secrets of each
credential; 'broker apply' keeps secrets that the file does not name.

Credentials of the configuration file are not printed.`

func newExport() *cobra.Command {
	command := &cobra.Command{
		Use:     "export [ID...]",
		Short:   "Prints managed credentials as YAML, without secrets",
		Long:    exportHelp,
		Example: `  broker export > credentials.yaml`,
		Args:    cobra.ArbitraryArgs,
	}
	managing(command, export)
	must(command.Flags().MarkHidden("output"))
	return command
}

func export(ctx context.Context, m *manager, ids []string) error {
	providers, err := m.ListProviders(ctx, &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	all, err := m.list(ctx, &authmaterialv1.ListCredentialsRequest{})
	if err != nil {
		return err
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	missing := slices.Clone(ids)
	for _, credential := range all.GetCredentials() {
		id := credential.GetCredentialId()
		managed := credential.GetOrigin() == authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_MANAGED
		if !managed || len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		node, err := exported(credential, providers.GetProviders())
		if err != nil {
			return err
		}
		list.Content = append(list.Content, node)
		missing = slices.DeleteFunc(missing, func(wanted string) bool { return wanted == id })
	}
	if len(missing) > 0 {
		return errors.New("no managed credential that you may view has one of these IDs: " + printable(strings.Join(missing, ", ")))
	}
	return writeYAML(m.out, map[string]*yaml.Node{"credentials": list})
}

// exportedCredential is a credential in the form that 'broker apply' reads.
type exportedCredential struct {
	ID               string                       `yaml:"id"`
	DisplayName      string                       `yaml:"display_name"`
	Description      string                       `yaml:"description,omitempty"`
	Provider         string                       `yaml:"provider"`
	AuthMethod       string                       `yaml:"auth_method"`
	Labels           map[string]string            `yaml:"labels,omitempty"`
	Disabled         bool                         `yaml:"disabled,omitempty"`
	KeepWarm         bool                         `yaml:"keep_warm,omitempty"`
	SecretExpireTime string                       `yaml:"secret_expire_time,omitempty"`
	AllowedHosts     []string                     `yaml:"allowed_hosts,omitempty"`
	Values           map[string]map[string]string `yaml:"values"`
}

func exported(c *authmaterialv1.Credential, providers []*authmaterialv1.Provider) (*yaml.Node, error) {
	item := exportedCredential{
		ID: c.GetCredentialId(), DisplayName: c.GetDisplayName(), Description: c.GetDescription(), Provider: c.GetProvider(),
		AuthMethod: c.GetAuthMethod(), Labels: c.GetLabels(), Disabled: c.GetDisabled(), KeepWarm: c.GetKeepWarm(),
		Values: map[string]map[string]string{},
	}
	if at := c.GetSecretExpireTime(); at != nil {
		item.SecretExpireTime = at.AsTime().Format(time.RFC3339Nano)
	}
	for field, text := range c.GetPublicValues() {
		item.Values[field] = map[string]string{"value": text}
	}
	var usual []string
	for _, provider := range providers {
		if provider.GetProviderId() == c.GetProvider() {
			usual = provider.GetAllowedHosts()
		}
	}
	for _, host := range c.GetAllowedHosts() {
		if !slices.Contains(usual, host) {
			item.AllowedHosts = append(item.AllowedHosts, host)
		}
	}
	node := &yaml.Node{}
	if err := node.Encode(item); err != nil {
		return nil, err
	}
	if fields := c.GetSecretFieldsSet(); len(fields) > 0 {
		comment := "Secrets are not exported. To set new secrets, add these lines to 'values':"
		for _, field := range fields {
			comment += fmt.Sprintf("\n  %s: {env: %s}", field, variableFor(c.GetCredentialId(), field))
		}
		node.Content[len(node.Content)-2].HeadComment = comment
	}
	return node, nil
}

var notInVariables = regexp.MustCompile(`[^A-Z0-9]+`)

// variableFor proposes the name of an environment variable.
func variableFor(id, field string) string {
	return notInVariables.ReplaceAllString(strings.ToUpper(id+"_"+field), "_")
}

func writeYAML(out io.Writer, value any) error {
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	return encoder.Close()
}
