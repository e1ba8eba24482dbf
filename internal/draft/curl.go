package draft

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/authmaterial/broker/internal/curlcommand"
)

// reader finds out what authenticates in a command, and adds it to a definition.
type reader struct {
	*Definition
	command         *curlcommand.Command
	headers, params *[]Placement // where to place what authenticates
	// token is true if a token is still to be placed: it takes the place of the first secret.
	token   bool
	skipped []string // names of headers that are not part of the definition
}

// FromCurl drafts a definition from curl commands that work: a call of the API, a token request, or
// both. The errors quote no values of the commands.
func FromCurl(commands []*curlcommand.Command) (*Definition, error) {
	var call, tokenRequest *curlcommand.Command
	for _, command := range commands {
		kind := &call
		if isTokenRequest(command) {
			kind = &tokenRequest
		}
		if *kind != nil {
			return nil, errors.New("there are several curl commands of the same kind: give one call of the API, one token request, or one of each")
		}
		*kind = command
	}
	d := &Definition{values: map[string]string{}, Notes: []string{
		"Drafted from a curl command. Add a description, documentation_url, and where people find each value.",
	}}
	if tokenRequest != nil {
		if err := d.readTokenRequest(tokenRequest); err != nil {
			return nil, err
		}
	}
	if call == nil {
		d.Method.Headers = []Placement{{Name: "Authorization", Value: "Bearer ${token}"}}
		d.Method.Notes = append(d.Method.Notes, "The command shows only the token request: check where the API expects the token.")
		d.HostNotes = append(d.HostNotes, "The host of the token request: put the hosts of the API here instead.")
		return d, d.setHost(tokenRequest)
	}
	if err := d.setHost(call); err != nil {
		return nil, err
	}
	return d, d.readCall(call, tokenRequest != nil)
}

func (d *Definition) setHost(command *curlcommand.Command) error {
	host, err := Host(command.URL)
	if err != nil {
		return err
	}
	d.Hosts = []string{host}
	d.ID, d.DisplayName = Name(command.URL.Hostname())
	if own, rest, found := strings.Cut(host, "."); found && strings.Contains(rest, ".") && !common.MatchString(own) {
		d.HostNotes = append(d.HostNotes, fmt.Sprintf("If each account has a host of its own, use a template such as \"${account}.%s\", over a field that is not secret.", rest))
	}
	switch {
	case command.NoScheme:
		d.HostNotes = append(d.HostNotes, "The command names no scheme. Callers of the broker use https.")
	case !secure(command.URL):
		d.HostNotes = append(d.HostNotes, "The command uses http. Callers of the broker send secrets only by https: check that the API has it.")
	}
	return nil
}

// common matches the first labels of hosts that all accounts share.
var common = regexp.MustCompile(`^(.*api.*|www|app|rest|login|auth|oauth2?|accounts?|gateway|data|cloud|a|[0-9.:\[\]]+)$`)

func (d *Definition) readCall(call *curlcommand.Command, withToken bool) error {
	r := &reader{Definition: d, command: call, headers: &d.Method.Headers, params: &d.Method.QueryParams, token: withToken}
	if err := r.readSecrets(); err != nil {
		return err
	}
	switch m := &d.Method; {
	case len(m.Headers)+len(m.QueryParams) == 0 && !withToken:
		return r.nothing()
	case r.token:
		m.Headers = append(m.Headers, Placement{Name: "Authorization", Value: "Bearer ${token}"})
		m.Notes = append(m.Notes, "No call shows where the API expects the token: check it.")
	}
	r.readIdentifiers()
	if d.Method.ID == "" {
		d.Method.ID, d.Method.DisplayName = "api_key", "API key"
	}
	if r.skipped != nil {
		d.Method.Notes = append(d.Method.Notes, "Headers of the command that callers set themselves: "+strings.Join(r.skipped, ", ")+".")
	}
	r.readVerification()
	return nil
}

// nothing explains why a definition cannot be made.
func (r *reader) nothing() error {
	body := r.command.Body
	for _, pair := range body.Form {
		if namesSecret(pair.Name) {
			return errBody
		}
	}
	for name := range body.JSON {
		if namesSecret(name) {
			return errBody
		}
	}
	return errors.New("nothing in the command looks like authentication: it needs a header such as Authorization or X-Api-Key, " +
		"a query parameter such as api_key, --user, or a token request; without --from-curl, the command asks where the key belongs")
}

var errBody = errors.New("the command has the key in its body, but the broker can only add headers and query parameters: " +
	"look in the documentation for one of these")

// errSigned is the error for signatures, which differ from request to request.
func errSigned(where string) error {
	return fmt.Errorf("%s looks like a signature over the request itself, which a definition cannot describe", where)
}
