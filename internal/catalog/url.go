package catalog

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	maxURL  = 2000 // characters
	urlForm = "must be a URL such as https://api.example.com/oauth/token"
)

// section is a section of a URL, which determines how the value of an expression is written there.
type section int

const (
	wholeURL section = iota // the expression is the beginning of the URL
	inHost
	inPath
	inQuery
)

// URL is the URL of a request with secrets: a text that may have expressions.
type URL struct {
	template *expression.Template
	// sections has the section of each part of the template.
	// It is nil if the URL has a problem.
	sections []section
	// anywhere is true if the text does not determine the domain. Such a URL may be used only if its
	// host is an allowed host of the credential.
	anywhere bool
}

// IsFromAnswer reports whether the URL begins with a value of an earlier answer.
func (u *URL) IsFromAnswer() bool { return len(u.sections) > 0 && u.sections[0] == wholeURL }

// Template returns the text of the URL with its expressions.
func (u *URL) Template() *expression.Template { return u.template }

// String returns the text of the URL with its expressions.
func (u *URL) String() string { return u.template.String() }

// MarshalText returns the text of the URL with its expressions.
func (u *URL) MarshalText() ([]byte, error) { return u.template.MarshalText() }

// readURL reads a URL, and reports a URL to which secrets must not be sent.
func readURL(value yamlfile.Value, scope *scope, anyHost bool) *URL {
	u := &URL{template: scope.compileURL(value, maxURL)}
	if u.template == broken || !value.Exists() {
		return u
	}
	host, sample := u.divide()
	if problem := u.problemOf(sample, host); problem != "" {
		value.Problemf("%s", problem)
		u.sections = nil
		return u
	}
	u.anywhere = u.sections[0] == wholeURL
	if slices.ContainsFunc(host, expression.Part.IsExpression) {
		u.anywhere = checkHost(value, host, scope, anyHost)
	}
	return u
}

// divide sets the sections of the parts. It returns the parts of the host, and a sample of the URL, in
// which each expression is replaced.
func (u *URL) divide() (host []expression.Part, sample string) {
	current := inHost
	for number, part := range u.template.Parts() {
		switch {
		case number == 0 && part.IsExpression():
			u.sections, sample, current = append(u.sections, wholeURL), "https://host.test", inPath
			continue
		case part.IsExpression():
			u.sections, sample = append(u.sections, current), sample+"x"
			if current == inHost {
				host = append(host, part)
			}
			continue
		}
		u.sections, sample = append(u.sections, current), sample+part.Literal
		if current == inHost {
			within := part.Literal
			if number == 0 {
				_, within, _ = strings.Cut(within, "://")
			}
			end := strings.IndexAny(within+"/", "/?#")
			host = append(host, expression.Part{Literal: within[:end]})
			if end < len(within) {
				current = inPath
			}
		}
		if current == inPath && strings.Contains(part.Literal, "?") {
			current = inQuery
		}
	}
	return host, sample
}

func (u *URL) problemOf(sample string, host []expression.Part) string {
	parsed, err := url.Parse(sample)
	if err != nil || parsed.Opaque != "" || parsed.Hostname() == "" || !validHost(strings.ToLower(parsed.Host)) || strings.Contains(sample, " ") {
		return urlForm
	}
	parts := u.template.Parts()
	literalHost := !slices.ContainsFunc(host, expression.Part.IsExpression)
	switch {
	case parsed.User != nil || parsed.Fragment != "":
		return "must not have a user or a fragment: remove it"
	case !pathIsPlain(parsed):
		return "must have no empty segment in its path, and none that is a dot or two dots"
	case u.sections[0] == wholeURL && (len(parts[0].Uses) != 1 || isField(parts[0].Uses[0])):
		return "must begin with https://, or with an expression that is one value of an earlier request, such as ${login.url}"
	case u.sections[0] == wholeURL && len(parts) > 1 && strings.IndexAny(parts[1].Literal, "/?") != 0:
		return "must have a slash or a question mark after the expression with which it begins"
	case parsed.Scheme == "https":
		return ""
	case parsed.Scheme == "http" && isLoopback(parsed.Hostname()) && literalHost:
		return ""
	default:
		return "must begin with https://, or with http:// and a literal loopback address"
	}
}

// Evaluate returns the URL for the given values. An error has the type *FieldError, or quotes no
// value. A URL that needs an unset optional field is an error. The URL may be used only if `allows`
// accepts its host, which has the form of an allowed host, or if the definition determines the domain.
func (u *URL) Evaluate(values map[string]string, allows func(host string) bool) (*url.URL, error) {
	parts, out := u.template.Parts(), strings.Builder{}
	set, err := u.template.EvaluateParts(values, func(number int, text string) error {
		if parts[number].IsExpression() {
			var err error
			if text, err = escape(text, u.sections[number], parts[number]); err != nil {
				return err
			}
		}
		out.WriteString(text)
		return nil
	})
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(out.String())
	switch {
	case !set:
		return nil, fmt.Errorf("the URL %s needs a field that is not set", u.template)
	case err != nil || parsed.User != nil || parsed.Fragment != "" || parsed.Opaque != "" || !validHost(strings.ToLower(parsed.Host)):
		return nil, fmt.Errorf("the values make %s a text that is not a URL", u.template)
	case parsed.Scheme != "https" && !isLoopback(parsed.Hostname()):
		return nil, fmt.Errorf("the values make %s a URL that is not https", u.template)
	case !pathIsPlain(parsed):
		return nil, fmt.Errorf("the values give %s an empty segment, or one that is a dot or two dots", u.template)
	case u.anywhere && !allows(hostOf(parsed)):
		return nil, fmt.Errorf("the host of the URL %s is not one of the credential's allowed hosts", u.template)
	}
	return parsed, nil
}

// escape returns the form of an expression's value in a section of a URL.
func escape(text string, in section, part expression.Part) (string, error) {
	switch {
	case in == inHost && !valueInHost.MatchString(text):
		return "", errInHost(part)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errOf(part, "has a line break or another control character, which is not allowed in a URL")
	}
	switch in {
	case inHost:
		return text, nil
	case inPath:
		if text == "" {
			return "", errors.New("an expression in the path of a URL has an empty value")
		}
		return url.PathEscape(text), nil
	case inQuery:
		return url.QueryEscape(text), nil
	default:
		return strings.TrimSuffix(text, "/"), nil
	}
}

// pathIsPlain reports whether no segment of a path is a dot or two dots, and no segment but the last is
// empty.
func pathIsPlain(u *url.URL) bool {
	segments := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	for _, segment := range segments[:len(segments)-1] {
		if segment == "" {
			return false
		}
	}
	return !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// hostOf returns the host of a URL in the form that allowed_hosts has. A host without a port stands
// for port 443.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "http" && u.Port() == "" {
		host += ":80"
	}
	return strings.TrimSuffix(host, ":443")
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// isAtOneOf reports whether the host of the URL, with its expressions, is one of the given hosts. The
// result for a URL with a problem is true.
func (u *URL) isAtOneOf(hosts []string) bool {
	if u.template == broken || u.sections == nil {
		return true
	}
	if parsed, err := url.Parse(u.template.String()); err == nil && !strings.Contains(parsed.Host, "$") {
		return slices.ContainsFunc(hosts, func(host string) bool { return strings.TrimSuffix(host, ":443") == hostOf(parsed) })
	}
	_, rest, _ := strings.Cut(u.template.String(), "://")
	return slices.ContainsFunc(hosts, func(host string) bool {
		after, found := strings.CutPrefix(rest, strings.TrimSuffix(host, ":443"))
		after = strings.TrimPrefix(after, ":443")
		return found && (after == "" || after[0] == '/' || after[0] == '?')
	})
}
