package strategies

import (
	"net/url"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
)

// Hosts returns the allowed hosts of a credential: those of its provider, and `more`, which the
// credential adds. The errors are those of catalog.Provider.Hosts.
func Hosts(credential *credentials.Credential, more []string) ([]string, error) {
	return credential.Provider.Hosts(fieldValues(credential), more)
}

// Evaluate returns a URL for the values of a credential, with the errors of catalog.URL.Evaluate. The
// host of the URL is one of the credential's allowed hosts.
func Evaluate(target *catalog.URL, credential *credentials.Credential) (*url.URL, error) {
	return target.Evaluate(fieldValues(credential), credential.AllowsHost)
}
