package management

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/strategies"
)

const (
	maxValue    = 64 << 10 // bytes
	maxHosts    = 100
	maxLabels   = 64
	maxName     = 128  // characters
	maxText     = 4000 // characters
	maxLabel    = 256  // characters
	maxVersions = 20   // versions that are not destroyed
	maxCallers  = 16   // patterns for the callers of a canary
)

// FieldValue is the value of one field in a request.
type FieldValue struct {
	Field string
	Value secret.Text
}

// material is the values and hosts of a version that is to be stored.
type material struct {
	provider *catalog.Provider
	method   *catalog.AuthMethod
	public   map[string]string
	secrets  map[string]secret.Text
	hosts    []string // the hosts that the version adds to those of the provider
}

// define sets the provider and the auth method, and reports whether managed credentials can use
// them.
func (m *material) define(c *config.Config, providerID, methodID string, problems *violations) bool {
	provider := c.Catalog.Provider(providerID)
	if provider == nil {
		problems.add("provider", fmt.Sprintf("%q is no provider: ListProviders returns all providers", clip(providerID)))
		return false
	}
	method := provider.AuthMethod(methodID)
	if method == nil {
		var ids []string
		for _, m := range provider.AuthMethods {
			ids = append(ids, m.ID)
		}
		problems.add("auth_method", fmt.Sprintf("must be an auth method of %s: %s", provider.DisplayName, strings.Join(ids, ", ")))
		return false
	}
	if fields := method.UnclassifiedFields(); fields != nil {
		problems.add("auth_method", fmt.Sprintf(
			"cannot be used for managed credentials: its definition does not state whether these fields are secret: %s: set 'secret' of each to true or false", strings.Join(fields, ", ")))
		return false
	}
	m.provider, m.method = provider, method
	return true
}

// keep adds the values of an earlier version, without those of fields that the present definition
// does not have. A secret stays a secret, even if the definition has made its field public.
func (m *material) keep(v *store.Version, secrets map[string]secret.Text) {
	for id, value := range v.PublicValues {
		if field := m.method.Field(id); field != nil {
			m.put(field, secret.New(value))
		}
	}
	for id, value := range secrets {
		if m.method.Field(id) != nil {
			m.secrets[id] = value
		}
	}
}

// put sets the value of a field, unless the value is empty.
func (m *material) put(field *catalog.Field, value secret.Text) {
	switch text := value.Reveal(); {
	case text == "":
	case field.Secret:
		m.secrets[field.ID] = value
	default:
		m.public[field.ID] = text
	}
}

// set adds the values of a request. An empty value removes the value of a field.
func (m *material) set(values []FieldValue, problems *violations) {
	seen := map[string]bool{}
	for _, value := range values {
		field, at := m.method.Field(value.Field), "values."+clip(value.Field)
		text := value.Value.Reveal()
		switch {
		case field == nil:
			problems.add(at, fmt.Sprintf("is no field of auth method %q", m.method.ID))
		case seen[value.Field]:
			problems.add(at, "is set twice")
		case len(text) > maxValue:
			problems.add(at, fmt.Sprintf("has %d bytes, and at most %d are allowed", len(text), maxValue))
		case !utf8.ValidString(text):
			problems.add(at, "must be UTF-8 text")
		case text == "" && field.Required:
			problems.add(at, "is required and must not be empty")
		default:
			delete(m.secrets, value.Field) // a field that was secret may be public now, or the other way round
			delete(m.public, value.Field)
			m.put(field, value.Value)
		}
		seen[value.Field] = true
	}
}

// setHosts sets the additional hosts, which the configuration must allow.
func (m *material) setHosts(c *config.Config, hosts []string, problems *violations) {
	m.hosts = nil
	provided, _ := m.provider.Hosts(m.public, nil) // the method check reports the error
	if len(hosts) > maxHosts {
		problems.add("allowed_hosts", fmt.Sprintf("has %d hosts, and at most %d are allowed", len(hosts), maxHosts))
		return
	}
	for n, host := range hosts {
		switch {
		case slices.Contains(slices.Concat(m.provider.AllowedHosts, provided, m.hosts), host):
			continue
		case !allowsHost(c, host):
			problems.add(fmt.Sprintf("allowed_hosts[%d]", n), "must be one of store.allowed_hosts in the broker's configuration file")
		}
		m.hosts = append(m.hosts, host)
	}
}

// newRecipient explains how the material may reach a host or a URL that the kept values do not reach, or
// returns "".
func (m *material) newRecipient(kept *credentials.Credential, keptHosts []string) string {
	if slices.ContainsFunc(m.hosts, func(host string) bool { return !slices.Contains(keptHosts, host) }) {
		return "adds a host"
	}
	present := m.credential("")
	for _, field := range m.method.FieldsInURLs() {
		if !present.Values[field].Equal(kept.Values[field]) {
			return fmt.Sprintf("changes %q, which is part of a host or a URL", field)
		}
	}
	return ""
}

// allowsHost reports whether managed credentials may add a host.
func allowsHost(c *config.Config, host string) bool {
	return c.Store != nil && slices.Contains(c.Store.AllowedHosts, host)
}

// addedHosts returns the hosts that a version adds to those of its provider. It leaves out hosts
// that the configuration does not allow any more.
func addedHosts(c *config.Config, provider *catalog.Provider, v *store.Version) (hosts []string) {
	for _, host := range v.AllowedHosts {
		if allowsHost(c, host) && !slices.Contains(provider.AllowedHosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// check adds a problem for each value that cannot be used.
func (m *material) check(id string, problems *violations) {
	if len(*problems) > 0 {
		return // the known problems may be the cause of any others
	}
	credential := m.credential(id)
	if _, err := m.provider.Hosts(m.public, m.hosts); err != nil {
		problems.add("values", "cannot be used: "+err.Error())
		return
	}
	for _, problem := range strategies.Check(credential) {
		at := "values"
		if problem.Field != "" {
			at += "." + problem.Field
		}
		problems.add(at, problem.Message)
	}
}

// credential returns a credential with this material. It has no hosts if the values do not result in
// valid ones.
func (m *material) credential(id string) *credentials.Credential {
	values := maps.Clone(m.secrets)
	for field, value := range m.public {
		values[field] = secret.New(value)
	}
	hosts, _ := m.provider.Hosts(m.public, m.hosts) // the method check reports the error
	return &credentials.Credential{ID: id, Provider: m.provider, Method: m.method, Values: values, AllowedHosts: hosts}
}

// clip shortens a text from a request, so that an error can quote it.
func clip(text string) string {
	if utf8.RuneCountInString(text) > maxName {
		return string([]rune(text)[:maxName]) + "…"
	}
	return text
}
