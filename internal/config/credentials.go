package config

import (
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// LoadCredentials returns the credentials of the file at path, in their order there and without
// their values. It reads no environment variable and no other file, so it works where secrets
// are missing. The error is as Load's: for problems of form anywhere in the file, and for others
// of its providers and credentials.
func LoadCredentials(path string) ([]*credentials.Credential, error) {
	data, err := readConfiguration(path)
	if err != nil {
		return nil, err
	}
	document := strictyaml.Parse(path, data, schema)
	root := document.Root()
	catalog.ReportUnevaluated(root, unchecked...)
	providers, _ := parseProviders(root.Key("providers"))
	listed := parseCredentials(root.Key("credentials"), providers, sourceReader{unread: true})
	if err := document.Err(); err != nil {
		return nil, err
	}
	return listed, nil
}

func parseCredentials(list strictyaml.Value, providers *catalog.Catalog, reader sourceReader) []*credentials.Credential {
	var all []*credentials.Credential
	seen := map[string]strictyaml.Value{}
	for _, item := range list.Items() {
		id := item.Key("id")
		if first, found := seen[id.Text()]; !found {
			seen[id.Text()] = id
		} else if id.Text() != "" {
			id.Problemf("this ID stands twice; the first is at %s", first)
		}
		all = append(all, parseCredential(item, providers, reader))
	}
	return all
}

func parseCredential(item strictyaml.Value, providers *catalog.Catalog, reader sourceReader) *credentials.Credential {
	credential := &credentials.Credential{
		ID:          item.Key("id").Text(),
		DisplayName: item.Key("display_name").Text(),
		Description: item.Key("description").Text(),
		Labels:      map[string]string{},
		Disabled:    item.Key("disabled").Bool(),
		Provider:    findProvider(item.Key("provider"), providers),
		Values:      map[string]secret.Text{},
	}
	for _, label := range item.Key("labels").Entries() {
		credential.Labels[label.Name] = label.Value.Text()
	}
	extraHosts := catalog.ReadHosts(item.Key("allowed_hosts"))
	if credential.Provider == nil {
		return credential
	}
	credential.AllowedHosts = slices.Clone(credential.Provider.AllowedHosts)
	for _, host := range extraHosts {
		if !slices.Contains(credential.AllowedHosts, host) {
			credential.AllowedHosts = append(credential.AllowedHosts, host)
		}
	}
	credential.Method = findMethod(item.Key("auth_method"), credential.Provider)
	if credential.Method == nil {
		return credential
	}
	complete := parseValues(item, credential, reader)
	checkMaterial(item.Key("values"), credential, complete)
	return credential
}

func findProvider(value strictyaml.Value, providers *catalog.Catalog) *catalog.Provider {
	id := value.Text()
	if id == "" {
		return nil // the schema has reported it
	}
	provider := providers.Provider(id)
	if provider == nil {
		value.Problemf("no provider has this ID%s", among(id, providerIDs(providers)))
	}
	return provider
}

func findMethod(value strictyaml.Value, provider *catalog.Provider) *catalog.AuthMethod {
	id := value.Text()
	if id == "" {
		return nil // the schema has reported it
	}
	method := provider.AuthMethod(id)
	if method == nil {
		value.Problemf("%s has no auth method of this ID%s", provider.DisplayName,
			among(id, ids(provider.AuthMethods, func(m *catalog.AuthMethod) string { return m.ID })))
	}
	return method
}

// parseValues reads the fields' values. It reports whether all were found.
func parseValues(item strictyaml.Value, credential *credentials.Credential, reader sourceReader) bool {
	values := item.Key("values")
	complete := values.Exists()
	for _, entry := range values.Entries() {
		if credential.Method.Field(entry.Name) == nil {
			entry.Key.Problemf("auth method %q of %s has no such field; it has: %s",
				credential.Method.ID, credential.Provider.DisplayName,
				strings.Join(ids(credential.Method.Fields, func(f catalog.Field) string { return f.ID }), ", "))
			continue
		}
		value, ok := reader.read(entry.Value)
		if !ok {
			complete = false
			continue
		}
		credential.Values[entry.Name] = value
	}
	for _, field := range credential.Method.Fields {
		if field.Required && values.Exists() && !values.Key(field.ID).Exists() {
			values.Problemf("the required field %q is missing: %s", field.ID, describe(field))
			complete = false
		}
	}
	return complete
}

// describe is a field's name and help in one line.
func describe(field catalog.Field) string {
	text := strings.TrimSpace(field.DisplayName + ". " + strings.Join(strings.Fields(field.Description), " "))
	return strings.TrimSuffix(text, ".")
}

func providerIDs(providers *catalog.Catalog) []string {
	return ids(providers.Providers(), func(p *catalog.Provider) string { return p.ID })
}

// ids are the IDs of some things.
func ids[T any](all []T, id func(T) string) []string {
	found := make([]string, len(all))
	for i, one := range all {
		found[i] = id(one)
	}
	return found
}

// checkMaterial reports values that cannot become material, each where it comes from.
// Of an incomplete credential it reports nothing that could be due to what is missing.
func checkMaterial(values strictyaml.Value, credential *credentials.Credential, complete bool) {
	for _, problem := range strategies.Check(credential) {
		switch {
		case problem.Field != "":
			values.Key(problem.Field).Problemf("%s", problem.Message)
		case complete:
			values.Problemf("%s", problem.Message)
		}
	}
}
