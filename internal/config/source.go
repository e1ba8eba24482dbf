package config

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// maxSecretFile is the largest size of a file from which a value is read, in bytes.
const maxSecretFile = 64 << 10

// source tells where a value in the configuration comes from. A source has the form
// `{env: NAME}`, `{file: PATH}` or `{value: TEXT}`.
type source struct {
	field text           // the field of a credential that gets the value
	kind  string         // the key of the source: env, file or value
	given text           // the text after the key env, file or value; empty: a problem was reported
	at    yamlfile.Place // the place of the source in the file
}

// readSource reads a source. The key of the source must be one of the kinds passed.
func readSource(value yamlfile.Value, form string, kinds ...string) source {
	read := source{at: value.Place()}
	entry, ok := value.Only("must be exactly one of " + form)
	if !ok {
		return read
	}
	value.Mapping(kinds...)
	read.kind, read.given.at = entry.Name(), entry.Place()
	switch {
	case !slices.Contains(kinds, read.kind): // the problem was already reported
	case read.kind == "value":
		read.given.value = entry.FreeText(1, maxSecretFile)
	default:
		read.given.value = entry.Text(yamlfile.MaxText)
	}
	return read
}

// readSecret returns the value of a source. The source must refer to the secret, and must not
// contain the secret itself.
func (p *parser) readSecret(value yamlfile.Value) (secret.Text, bool) {
	return p.resolve(readSource(value, "{env: NAME} and {file: PATH}", "env", "file"), 0)
}

// resolve returns the value that a source refers to, or reports why the value
// cannot be read. The method warns of a value that is probably a mistake. The line of the source
// in the file is the line of its place plus the argument `shift`.
func (p *parser) resolve(from source, shift int) (secret.Text, bool) {
	if from.given.value == "" || p.unread {
		return secret.Text{}, false
	}
	at := yamlfile.Place{Line: from.given.at.Line + shift, Column: from.given.at.Column}
	value, subject := "", "the value"
	switch from.kind {
	case "env":
		value = p.readEnv(from.given.value, at)
		subject = "the value of the environment variable" + shown(from.given.value)
	case "file":
		content, ok := p.readFile(from.given.value, at, maxSecretFile)
		value, subject = strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r"), "the content of the file"
		if ok && value == "" {
			p.document.Problemf(at, "the file is empty%s", p.relativeTo(from.given.value))
		}
	case "value":
		value = from.given.value
	}
	if mistake := likelyMistake(value); mistake != "" {
		p.document.Warnf(at, "%s %s", subject, mistake)
	}
	return secret.New(value), value != ""
}

// readEnv returns the value of an environment variable. The value is empty if a problem was
// reported.
func (p *parser) readEnv(name string, at yamlfile.Place) string {
	value, found := p.options.lookupEnv(name)
	switch {
	case !found:
		p.document.Problemf(at, "the environment variable%s is not set", shown(name))
	case value == "":
		p.document.Problemf(at, "the environment variable%s is empty", shown(name))
	}
	return value
}

var variableName = regexp.MustCompile(`^[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,16}){0,7}$`)

// shown returns the name of an environment variable for use in a message. If the
// name may be a secret that was entered in the wrong place, the returned text does not contain
// the name.
func shown(name string) string {
	if variableName.MatchString(name) {
		return " " + name
	}
	return ""
}

// readPath returns the content of a file whose path is a value in the configuration. readPath
// returns false if the value is missing, or if the file cannot be read; the reason is reported.
func (p *parser) readPath(value yamlfile.Value, limit int64) (string, bool) {
	path := value.Text(yamlfile.MaxText)
	if path == "" {
		return "", false
	}
	return p.readFile(path, value.Place(), limit)
}

func (p *parser) readFile(given string, at yamlfile.Place, limit int64) (string, bool) {
	path := p.resolvePath(given)
	if p.options.Reading != nil {
		p.options.Reading(path)
	}
	data, err := regularfile.Read(path, limit)
	if err != nil {
		p.document.Problemf(at, "the file %s%s", err, p.relativeTo(given))
		return "", false
	}
	if everybodyWrites(path) {
		p.document.Warnf(at, "the file %s", writable)
	}
	return string(data), true
}

func (p *parser) resolvePath(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.folder, path)
}

// relativeTo returns a hint for messages: the folder to which a relative path refers. The hint
// does not contain the path itself, which may be a secret that was entered in the wrong place.
func (p *parser) relativeTo(path string) string {
	if filepath.IsAbs(path) {
		return ""
	}
	return "; a relative path is relative to " + p.folder
}

const writable = "can be changed by every user of this machine: chmod o-w"

// everybodyWrites reports whether every user may write to a file. A file that every user may
// read but not write is normal, because Kubernetes mounts Secrets with such a mode, for the only
// user of a container.
func everybodyWrites(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0
}

// The variable `placeholder` matches texts that examples and templates contain in place of a
// secret.
var placeholder = regexp.MustCompile(`(?is)` + strings.Join([]string{
	`\$\{[a-z_][^{}]*\}`, `\$\([a-z_][^()]*\)`, `\{\{.*\}\}`, // placeholders of template languages
	`^\$[a-z_][a-z_0-9]+$`, `^%[a-z_][a-z_0-9]+%$`, // variables of Unix and Windows shells
	`^<.*>$`,
	`^replace[-_ ]?(with|me|this)`,
	`^((insert|enter|paste|put|add)[-_ ]?)?your[-_ ]?.*(key|id|secret|token|password|name|email|here)$`,
	`^(change[-_ ]?(me|it|this)|todo|fixme|tbd|placeholder|null|undefined)$`,
	`^[x*.-]{3,}$`, `x{6}`,
}, "|"))

// likelyMistake returns the end of a sentence that says why a value is probably a mistake. If a
// value is probably no mistake, likelyMistake returns an empty string.
func likelyMistake(value string) string {
	const invisible = "\ufeff\u200b\u200c\u200d\u2060\u00a0" // characters that people copy from documents without noticing
	switch {
	case placeholder.MatchString(value):
		return "looks like a placeholder or a template that was not filled in"
	case strings.ContainsAny(value, "\r\n"):
		return "has a line break"
	case strings.TrimSpace(value) != value:
		return "has a space at its beginning or end"
	case len(value) > 1 && strings.IndexByte("\"'`", value[0]) >= 0 && value[0] == value[len(value)-1]:
		return "has quotes around it, which are sent as part of it"
	case strings.ContainsAny(value, invisible):
		return "has an invisible character, such as a byte order mark or a no-break space"
	}
	return ""
}
