package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// plainJSON returns a message without secrets as JSON with the names of the proto file, which are
// also those of the configuration file.
func plainJSON(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true, UseProtoNames: true}.Marshal(message)
	if err != nil {
		panic(err) // impossible, because gRPC has checked that all texts are UTF-8
	}
	return text
}

// printYAML prints JSON as YAML, with the keys in the same order.
func printYAML(out io.Writer, text json.RawMessage) error {
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return err
	}
	useBlocks(&node)
	return writeYAML(out, &node)
}

// useBlocks replaces the style of JSON by that of YAML, except for empty lists and mappings.
func useBlocks(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode || len(node.Content) > 0 {
		node.Style = 0
	}
	for _, child := range node.Content {
		useBlocks(child)
	}
}

// inWords returns the name of an enum value in words for people.
func inWords(value fmt.Stringer, prefix string) string {
	if text, found := inOwnWords[value.String()]; found {
		return text
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(value.String(), prefix)), "_", " ")
}

var inOwnWords = map[string]string{
	"CREDENTIAL_STATE_UNSPECIFIED": "-",
	"VERSION_STATE_ENABLED":        "not in use",
}

func stateOf(credential *authmaterialv1.Credential) string {
	return inWords(credential.GetState(), "CREDENTIAL_STATE_")
}

// versionOf returns the number of the version that callers get, as text.
func versionOf(credential *authmaterialv1.Credential) string {
	if credential.GetOrigin() == authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_DECLARED {
		return "declared"
	}
	text := fmt.Sprint(credential.GetActiveVersion())
	if canary := credential.GetCanary(); canary != nil {
		text += fmt.Sprintf(", canary %d", canary.GetVersion())
	}
	return text
}

// pairs returns a map as text, sorted by key.
func pairs(all map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		texts = append(texts, key+"="+all[key])
	}
	return strings.Join(texts, ", ")
}

func credentialRows(c *authmaterialv1.Credential, relative bool) rows {
	var list rows
	list.add("ID", c.GetCredentialId())
	list.add("name", c.GetDisplayName())
	list.add("description", c.GetDescription())
	list.add("labels", pairs(c.GetLabels()))
	list.add("provider", c.GetProvider()+", "+c.GetAuthMethod())
	list.add("state", stateOf(c))
	list.add("version", versionRow(c))
	if canary := c.GetCanary(); canary != nil {
		list.add("canary", fmt.Sprintf("%d for %s", canary.GetVersion(), strings.Join(canary.GetCallers(), ", ")))
	}
	list.add("values", pairs(c.GetPublicValues()))
	list.add("secrets set", cmp.Or(strings.Join(c.GetSecretFieldsSet(), ", "), "none"))
	list.add("allowed host", c.GetAllowedHosts()...)
	if c.GetKeepWarm() {
		list.add("keep warm", "yes")
	}
	list.addTime("secret expires", c.GetSecretExpireTime(), relative)
	list.addTime("created", c.GetCreateTime(), relative)
	list.addTime("changed", c.GetUpdateTime(), relative)
	list.addTime("deleted", c.GetDeleteTime(), relative)
	if c.GetShadowed() {
		list.add("attention", "the configuration file declares a credential with this ID, and callers get the declared one")
	}
	return list
}

func versionRow(c *authmaterialv1.Credential) string {
	if c.GetActiveVersion() == 0 {
		return "none: the credential is declared in the configuration file"
	}
	return fmt.Sprint(c.GetActiveVersion())
}

// addTime adds a row for a time, unless the time is nil.
func (r *rows) addTime(label string, at *timestamppb.Timestamp, relative bool) {
	if at != nil {
		r.add(label, moment(at, relative))
	}
}

// outcome returns the result of a verification in words for people.
func outcome(v *authmaterialv1.Verification) string {
	return inWords(v.GetOutcome(), "VERIFICATION_OUTCOME_") + ": " + v.GetExplanation()
}
