package config

import (
	"path/filepath"
	"time"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// ManagedFile is a file for `broker apply`, which describes managed credentials with the keys of the
// section 'credentials' of a configuration file. A ManagedFile is not safe for concurrent use.
type ManagedFile struct {
	// Credentials are the credentials in the file's order, with different IDs.
	Credentials []*ManagedCredential

	parser *parser
}

// ManagedCredential describes a managed credential whose provider and values are not checked yet.
type ManagedCredential struct {
	ID, DisplayName, Description string
	Labels                       map[string]string
	Provider, AuthMethod         string
	Disabled, KeepWarm           bool
	SecretExpireTime             time.Time // zero if the file does not set this time
	// AllowedHosts are the hosts in addition to those of the provider.
	AllowedHosts []string
	Values       []ManagedValue
}

// ManagedValue is the value of one field.
type ManagedValue struct {
	Field string
	// Inline is true if the value itself is in the file.
	Inline bool
	// Place is the position of the value in the file.
	Place yamlfile.Place

	source source
}

// LoadManaged reads the file at path, but no environment variable and no other file.
func LoadManaged(path string, options Options) (*ManagedFile, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	document := yamlfile.Parse(path, data)
	file := &ManagedFile{parser: &parser{document: document, folder: filepath.Dir(path), options: options}}
	ids := yamlfile.Unique{}
	for _, value := range document.Root().Mapping("credentials").Requires("credentials").Get("credentials").List(0, maxCredentials) {
		item := readItem(value)
		ids.Check(value.Get("id"), item.id.value, "ID")
		credential := &ManagedCredential{
			ID: item.id.value, DisplayName: item.displayName, Description: item.description, Labels: item.labels,
			Provider: item.provider.value, AuthMethod: item.method.value, Disabled: item.disabled, KeepWarm: item.keepWarm,
			SecretExpireTime: item.secretExpireTime, AllowedHosts: item.allowedHosts,
		}
		for _, from := range item.values {
			credential.Values = append(credential.Values, ManagedValue{
				Field: from.field.value, Inline: from.kind == "value", Place: from.at, source: from,
			})
		}
		file.Credentials = append(file.Credentials, credential)
	}
	return file, document.Err()
}

// Read returns a value, or reports why it cannot be read. Relative paths in the file are relative to
// its folder.
func (f *ManagedFile) Read(value ManagedValue) (text secret.Text, ok bool) {
	return f.parser.resolve(value.source, 0)
}

// Problem reports a problem with a value.
func (f *ManagedFile) Problem(value ManagedValue, message string) {
	f.parser.document.Problemf(value.Place, "%s", message)
}

// Err returns all problems that were reported so far, or nil.
func (f *ManagedFile) Err() error { return f.parser.document.Err() }

// Warnings returns warnings about values that were read and that are probably mistakes.
func (f *ManagedFile) Warnings() yamlfile.Problems { return f.parser.document.Warnings() }
