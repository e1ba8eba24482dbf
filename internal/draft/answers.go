package draft

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/catalog"
)

// New returns a definition without an auth method. The text `api` is the host of the API, or the URL
// of a call.
func New(name, api string) (*Definition, error) {
	target, err := ParseURL(api)
	if err != nil {
		return nil, err
	}
	host, err := Host(target)
	if err != nil {
		return nil, err
	}
	d := &Definition{DisplayName: name, Hosts: []string{host}, values: map[string]string{}, Notes: []string{
		"Add a description, documentation_url, and where people find each value.",
	}}
	if d.ID = strings.Join(words(name), "-"); !providerID.MatchString(d.ID) {
		d.ID, _ = Name(target.Hostname())
	}
	return d, nil
}

// ParseURL reads a URL to which secrets may be sent, or a host alone.
func ParseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	target, err := url.Parse(text)
	switch {
	case err != nil || target.Host == "" || target.Opaque != "":
		return nil, errors.New("must be a host or a URL, such as api.example.com or https://api.example.com/v1/me")
	case target.User != nil || target.Fragment != "":
		return nil, errors.New("must not have a user or a fragment")
	case !secure(target):
		return nil, errors.New("must begin with https://")
	}
	return target, nil
}

// SetVerification makes GET requests of a URL verify credentials. The empty text leaves verification
// out.
func (d *Definition) SetVerification(text string) error {
	if text == "" {
		d.Method.VerificationNotes = []string{noAPIRequest}
		return nil
	}
	target, err := ParseURL(text)
	if err != nil {
		return err
	}
	host, err := Host(target)
	switch {
	case err != nil:
		return err
	case !slices.Contains(d.Hosts, host):
		return errors.New("must be on the host " + d.Hosts[0])
	}
	d.Method.VerificationURL = target.String()
	return nil
}

// FieldID proposes the ID of a field for the header or parameter with a name.
func FieldID(name string) string { return fieldID(name, "api_key") }

// NamesSecret reports whether the value of a header or parameter with this name is probably a secret.
func NamesSecret(name string) bool { return namesSecret(name) }

// CheckField returns an error if a text cannot be the ID of a field.
func (d *Definition) CheckField(id string) error {
	switch {
	case !usable(id):
		return errors.New("must have 1 to 63 lower-case letters, digits and underscores, begin with a letter, and not be a reserved word")
	case d.hasField(id):
		return errors.New("must differ from the other fields")
	}
	return nil
}

// CheckHeader returns an error if a text cannot be the name of a header that authenticates.
func CheckHeader(name string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return errors.New("must be the name of a header, such as X-Api-Key")
	case catalog.ReservedHeader(name):
		return errors.New("must be another header, because this one is reserved for HTTP itself")
	}
	return nil
}
