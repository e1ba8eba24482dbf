package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const hostForm = "must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"

var (
	hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)
	// valueInHost matches what an expression may add to a host.
	valueInHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// ReadHosts reads a list of hosts that must have at least `least` items.
func ReadHosts(list yamlfile.Value, least int) []string {
	var hosts []string
	unique := yamlfile.Unique{}
	for _, item := range list.List(least, 100) {
		host := item.Match(hostPattern, hostForm)
		if host != "" && !validHost(host) {
			item.Problemf(hostForm)
		}
		unique.Check(item, host, "host")
		hosts = append(hosts, host)
	}
	return hosts
}

// validHost checks the rules that a regular expression cannot check: the port must be in range, and
// the host must be a name or an IP address.
func validHost(text string) bool {
	parsed, err := url.Parse("https://" + text)
	return err == nil && egress.IsPort(parsed.Port()) && egress.IsHost(parsed.Hostname())
}

// Host is a host to which auth material may be sent: a text that may have expressions over fields
// that are not secret.
type Host struct {
	template *expression.Template
	// anywhere is true if the text does not determine the domain. Such a host is allowed only if the
	// credential lists it, too.
	anywhere bool
}

// FieldError is an error: the value of a field cannot be used. It does not quote the value.
type FieldError struct {
	Field   string
	Message string
}

// Error returns the message with the ID of the field.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// Hosts returns the allowed hosts of a credential with the given values, without duplicates: those
// of the provider, and `more`, which the credential adds. A host that needs an unset optional field
// is left out. An error quotes no value, and may be a *FieldError.
func (p *Provider) Hosts(values map[string]string, more []string) ([]string, error) {
	hosts := make([]string, 0, len(p.hosts)+len(more))
	for _, host := range p.hosts {
		text, set, err := host.evaluate(values)
		switch {
		case err != nil:
			return nil, err
		case !set || slices.Contains(hosts, text):
		case host.anywhere && !slices.Contains(more, text):
			return nil, fmt.Errorf("the values result in a host that the credential must also list in its `allowed_hosts`, because %s does not determine its domain", host.template)
		default:
			hosts = append(hosts, text)
		}
	}
	for _, host := range more {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("the values result in no allowed host: set the fields that the provider's `allowed_hosts` use")
	}
	return hosts, nil
}

// HostsOfCustomer returns the hosts of a credential with the given values whose domain the customer of
// the provider chooses, so that the credential must list them, too. The errors are those of Hosts.
func (p *Provider) HostsOfCustomer(values map[string]string) (hosts []string, err error) {
	for _, host := range p.hosts {
		if !host.anywhere {
			continue
		}
		text, set, err := host.evaluate(values)
		if err != nil {
			return nil, err
		}
		if set {
			hosts = append(hosts, text)
		}
	}
	return hosts, nil
}

func (h Host) evaluate(values map[string]string) (host string, set bool, err error) {
	parts, out := h.template.Parts(), strings.Builder{}
	set, err = h.template.EvaluateParts(values, func(number int, text string) error {
		if parts[number].IsExpression() {
			if !valueInHost.MatchString(text) {
				return errInHost(parts[number])
			}
			if domain := domainAfter(parts, number); domain != "" && strings.HasSuffix(text, domain) {
				return errOf(parts[number], "must not end in "+domain+", because the definition adds it")
			}
		}
		out.WriteString(text)
		return nil
	})
	if host = out.String(); set && err == nil && (!hostPattern.MatchString(host) || !validHost(host)) {
		return "", false, fmt.Errorf("the values make %s a text that is not a host", h.template)
	}
	return host, set, err
}

// domainAfter returns the text of a host after an expression if it begins with a dot.
func domainAfter(parts []expression.Part, number int) string {
	if number+1 < len(parts) && strings.HasPrefix(parts[number+1].Literal, ".") {
		return parts[number+1].Literal
	}
	return ""
}

func errInHost(part expression.Part) error {
	return errOf(part, "is used in a host, so it must consist of lower-case letters, digits, hyphens and dots")
}

// errOf returns an error about the value of an expression.
func errOf(part expression.Part, message string) error {
	if len(part.Uses) == 1 {
		return &FieldError{Field: part.Uses[0], Message: "the value " + message}
	}
	return errors.New("the value of an expression " + message)
}

// readProviderHosts reads the hosts of a provider, which may use the fields of all its methods. It also
// returns the scope that records what the hosts use.
func readProviderHosts(list yamlfile.Value, methods []*AuthMethod, anyHost bool) ([]Host, *scope) {
	scope := &scope{}
	for _, method := range methods {
		for _, field := range method.Fields {
			if earlier := scope.field(field.ID); earlier != nil {
				earlier.Secret = earlier.Secret || field.Secret
				continue
			}
			field.Required = false // other methods may lack the field
			scope.fields = append(scope.fields, field)
		}
	}
	var hosts []Host
	unique := yamlfile.Unique{}
	for _, item := range list.List(1, 100) {
		host := Host{template: scope.compileURL(item, maxLine)}
		unique.Check(item, host.template.String(), "host")
		if host.template != broken && item.Exists() {
			host.anywhere = checkHost(item, host.template.Parts(), scope, anyHost)
		}
		hosts = append(hosts, host)
	}
	return hosts, scope
}

// checkHost reports problems of a host that may have expressions. It returns true if the text does not
// determine the domain.
func checkHost(item yamlfile.Value, host []expression.Part, scope *scope, anyHost bool) (anywhere bool) {
	sample, suffix, literal := "", "", true
	for _, part := range host {
		suffix += part.Literal
		sample += part.Literal
		if part.IsExpression() {
			suffix, literal = "", false
			sample += "x"
		}
		for _, name := range part.Uses {
			switch field := scope.field(name); {
			case field != nil && field.Secret:
				item.Problemf("the field %q is secret, and a host may use only fields that are not secret", name)
			case field == nil && name == JWTVariable:
				item.Problemf("the JWT is secret: use it in a parameter or a header, not in a host")
			}
		}
	}
	if !hostPattern.MatchString(sample) || !validHost(sample) {
		item.Problemf(hostForm)
		return false
	}
	if literal || endsInDomain(suffix) {
		return false
	}
	if !anyHost {
		item.Problemf("must end, after its last expression, in a dot and a registered domain of the provider, such as .example.com; " +
			"if the provider's customers choose the domain, set any_host: true, and each credential must list its host in allowed_hosts")
	}
	return true
}

// endsInDomain reports whether a text has, after its first dot, a name in a domain that somebody
// registered. A public suffix such as co.uk is not enough.
func endsInDomain(text string) bool {
	name, _, _ := strings.Cut(text, ":")
	_, name, dotted := strings.Cut(name, ".")
	if !dotted || strings.HasPrefix(name, ".") {
		return false
	}
	// The two labels stand for what an expression adds: each name below kobe.jp is a public suffix.
	suffix, managed := publicsuffix.PublicSuffix("x.x." + name)
	if managed {
		return len(name) > len(suffix)
	}
	// A suffix such as github.io is not managed by a registry: a company has registered it.
	return strings.Contains(suffix, ".")
}
