package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const maxCredentials = 1_000_000

// credentialItem is a parsed item of the list `credentials`, and depends only on the item's text.
type credentialItem struct {
	line                 int // the number of the line where the item's text begins; 0 if unknown
	id, provider, method text
	displayName          string
	description          string
	labels               map[string]string
	disabled             bool
	keepWarm             bool
	secretExpireTime     time.Time
	allowedHosts         []string
	values               []source
	valuesAt             yamlfile.Place // the place of the key 'values'; zero if the key is missing
}

type text struct {
	value string // the string in the file; empty if a problem was reported
	at    yamlfile.Place
}

var (
	idPattern    = regexp.MustCompile(credentials.IDPattern)
	labelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
)

func readItem(item yamlfile.Value) *credentialItem {
	item.Mapping("id", "display_name", "description", "labels", "disabled", "keep_warm", "secret_expire_time", "provider", "auth_method", "allowed_hosts", "values").
		Requires("id", "provider", "auth_method", "values")
	id, provider, method, values := item.Get("id"), item.Get("provider"), item.Get("auth_method"), item.Get("values")
	read := &credentialItem{
		id:               text{id.Match(idPattern, "must be 1 to 128 lower-case letters, digits, dots, underscores and hyphens, with a letter or digit at each end"), id.Place()},
		displayName:      item.Get("display_name").FreeText(1, 200),
		description:      item.Get("description").FreeText(0, 4000),
		labels:           readLabels(item.Get("labels")),
		disabled:         item.Get("disabled").Bool(false),
		provider:         text{provider.FreeText(1, yamlfile.MaxText), provider.Place()},
		method:           text{method.FreeText(1, yamlfile.MaxText), method.Place()},
		allowedHosts:     catalog.ReadHosts(item.Get("allowed_hosts"), 0),
		keepWarm:         item.Get("keep_warm").Bool(false),
		secretExpireTime: readTime(item.Get("secret_expire_time")),
	}
	entries, ok := values.Entries()
	for _, entry := range entries {
		value := readSource(entry, "{env: NAME}, {file: PATH} and {value: TEXT}", "env", "file", "value")
		value.field = text{entry.Name(), entry.Key().Place()}
		read.values = append(read.values, value)
	}
	if ok {
		read.valuesAt = values.Place()
	}
	return read
}

func readTime(value yamlfile.Value) time.Time {
	text := value.Text(64)
	at, err := time.Parse(time.RFC3339, text)
	if text != "" && err != nil {
		value.Problemf("must be a time such as 2027-01-31T00:00:00Z")
	}
	return at.UTC()
}

func readLabels(mapping yamlfile.Value) map[string]string {
	labels := map[string]string{}
	entries, _ := mapping.Entries()
	for i, entry := range entries {
		if i == 64 {
			mapping.Problemf("must have at most 64 labels")
		}
		name := entry.Key().Match(labelPattern, "this key must be 1 to 63 lower-case letters, digits, dots, underscores, slashes and hyphens, with a letter or digit at each end")
		labels[name] = entry.FreeText(0, 256)
	}
	return labels
}

func (p *parser) makeCredentials(items []placedItem, providers *catalog.Catalog) []*credentials.Credential {
	all := make([]*credentials.Credential, 0, len(items))
	lines := make(map[string]int, len(items))
	for _, item := range items {
		id := item.id.value
		if line, repeated := lines[id]; repeated && id != "" {
			p.document.Problemf(item.at(item.id.at), "duplicate ID: it is already in line %d", line)
		} else {
			lines[id] = item.at(item.id.at).Line
		}
		all = append(all, p.makeCredential(item, providers))
	}
	return all
}

func (p *parser) makeCredential(item placedItem, providers *catalog.Catalog) *credentials.Credential {
	credential := &credentials.Credential{
		ID:               item.id.value,
		DisplayName:      item.displayName,
		Description:      item.description,
		Labels:           item.labels,
		Disabled:         item.disabled,
		KeepWarm:         item.keepWarm,
		SecretExpireTime: item.secretExpireTime,
		Provider:         providers.Provider(item.provider.value),
		Values:           make(map[string]secret.Text, len(item.values)),
	}
	if credential.Provider == nil {
		if id := item.provider.value; id != "" {
			p.document.Problemf(item.at(item.provider.at), "no provider has this ID%s", among(id, providerIDs(providers)))
		}
		return credential
	}
	credential.Method = credential.Provider.AuthMethod(item.method.value)
	if credential.Method == nil {
		if id := item.method.value; id != "" {
			p.document.Problemf(item.at(item.method.at), "%s has no auth method of this ID%s", credential.Provider.DisplayName,
				among(id, ids(credential.Provider.AuthMethods, func(m *catalog.AuthMethod) string { return m.ID })))
		}
		return credential
	}
	if credential.Method.ReplacesRefreshToken() && p.lacksStore {
		p.document.Problemf(item.at(item.method.at), "the provider replaces the refresh token of this auth method with each token, so the broker must store it: add the section 'store'")
	}
	if item.valuesAt != (yamlfile.Place{}) {
		p.setValues(credential, item)
	}
	return credential
}

// setValues sets the values of a credential and reports values that cannot be used. If a value is
// missing, setValues does not report problems that may only be a consequence.
func (p *parser) setValues(credential *credentials.Credential, item placedItem) {
	method, complete := credential.Method, true
	for _, value := range item.values {
		id := value.field.value
		if method.Field(id) == nil {
			p.document.Problemf(item.at(value.field.at), "auth method %q of %s has no such field; it has: %s", method.ID, credential.Provider.DisplayName,
				strings.Join(ids(method.Fields, func(f catalog.Field) string { return f.ID }), ", "))
		} else if text, ok := p.resolve(value, item.shift); ok {
			credential.Values[id] = text
		} else {
			complete = false
		}
	}
	for _, field := range method.Fields {
		if field.Required && !item.has(field.ID) {
			help := field.DisplayName + ". " + strings.Join(strings.Fields(field.Description), " ")
			p.document.Problemf(item.at(item.valuesAt), "the required field %q is missing: %s", field.ID, strings.TrimRight(help, ". "))
			complete = false
		}
	}
	if p.faulty[credential.Provider] {
		return // the problems of the definition may be the cause of any others
	}
	p.setHosts(credential, item, complete)
	for _, problem := range strategies.Check(credential) {
		if _, known := credential.Values[problem.Field]; known || complete {
			p.reportValue(item, problem.Field, problem.Message)
		}
	}
}

// reportValue reports a problem with the value of a field, which was read, or with all values if the
// field is empty.
func (p *parser) reportValue(item placedItem, field, message string) {
	at := item.valuesAt
	for _, value := range item.values {
		if value.field.value != field {
			continue
		}
		if at = value.at; value.kind == "file" {
			message = "in the file " + value.given.value + ": " + message
		}
	}
	p.document.Problemf(item.at(at), "%s", message)
}

// setHosts sets the hosts of a credential, whose values must be set before. If a value is missing, it
// does not report a problem.
func (p *parser) setHosts(credential *credentials.Credential, item placedItem, complete bool) {
	hosts, err := strategies.Hosts(credential, item.allowedHosts)
	credential.AllowedHosts = hosts
	if err == nil || !complete {
		return
	}
	if inField, ok := errors.AsType[*catalog.FieldError](err); ok {
		p.reportValue(item, inField.Field, inField.Message)
		return
	}
	p.reportValue(item, "", err.Error())
}

// has reports whether the item has a source for the value of a field.
func (i *credentialItem) has(field string) bool {
	return slices.ContainsFunc(i.values, func(value source) bool { return value.field.value == field })
}

func providerIDs(providers *catalog.Catalog) []string {
	return ids(providers.Providers(), func(p *catalog.Provider) string { return p.ID })
}

func ids[T any](all []T, id func(T) string) []string {
	found := make([]string, len(all))
	for i, one := range all {
		found[i] = id(one)
	}
	return found
}
