package config

import (
	"encoding/json"
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

const maxSecretFile = 64 << 10 // bytes

// source is a mapping in the configuration that states where a value comes from. The mapping has
// exactly one key, which is `env`, `file` or `value`.
type source struct {
	field text   // the field of a credential that gets the value
	kind  string // the mapping's key
	given text   // the mapping's value; empty if a problem was reported
	at    yamlfile.Place
}

func readSource(value yamlfile.Value, form string, kinds ...string) source {
	read := source{at: value.Place()}
	entry, ok := value.Only("must be exactly one of " + form)
	if !ok {
		return read
	}
	value.Mapping(kinds...)
	read.kind, read.given.at = entry.Name(), entry.Place()
	switch {
	case !slices.Contains(kinds, read.kind): // a problem was already reported
	case read.kind == "value":
		read.given.value = entry.FreeText(1, maxSecretFile)
	default:
		read.given.value = entry.Text(yamlfile.MaxText)
	}
	return read
}

// readSecret returns the value of an environment variable or file; the configuration itself must
// not contain the secret.
func (p *parser) readSecret(value yamlfile.Value) (secret.Text, bool) {
	return p.resolve(readSource(value, "{env: NAME} and {file: PATH}", "env", "file"), 0)
}

// resolve returns the value of a source, or reports why the value cannot be read. resolve also
// warns of a value that is probably a mistake. The line number of the source in the file is higher
// by `shift` than in `from`.
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

// `shown` returns the name of an environment variable for use in a message, or an empty text if the
// name may be a secret that was entered in the wrong place.
func shown(name string) string {
	if variableName.MatchString(name) {
		return " " + name
	}
	return ""
}

// readPath returns the content of the file whose path is a value in the configuration. readPath
// returns false if the value is missing, or if the file cannot be read and a problem was reported.
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

// relativeTo returns a hint for messages: the folder to which a relative path refers, without the
// path itself, which may be a secret that was entered in the wrong place.
func (p *parser) relativeTo(path string) string {
	switch {
	case filepath.IsAbs(path):
		return ""
	case p.folder == ".":
		return "; a relative path is relative to the working directory"
	default:
		return "; a relative path is relative to " + p.folder
	}
}

const writable = "can be changed by every user of this machine: chmod o-w"

// everybodyWrites reports whether every user may write to a file. A file that every user may only
// read is normal, because Kubernetes mounts Secrets like that.
func everybodyWrites(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0
}

// placeholder matches texts that examples and templates contain in place of a secret.
var placeholder = regexp.MustCompile(`(?is)` + strings.Join([]string{
	`\$\{[a-z_][^{}]*\}`, `\$\([a-z_][^()]*\)`, `\{\{.*\}\}`, // template languages
	`^\$[a-z_][a-z_0-9]+$`, `^%[a-z_][a-z_0-9]+%$`, // variables of Unix and Windows shells
	`^<.*>$`,
	`^replace[-_ ]?(with|me|this)`,
	`^((insert|enter|paste|put|add)[-_ ]?)?your[-_ ]?.*(key|id|secret|token|password|name|email|here)$`,
	`^(change[-_ ]?(me|it|this)|todo|fixme|tbd|placeholder|null|undefined)$`,
	`^[x*.-]{3,}$`, `x{6}`,
}, "|"))

// likelyMistake returns the end of a sentence that states why a value is probably a mistake, or an
// empty string for any other value.
func likelyMistake(value string) string {
	const invisible = "\ufeff\u200b\u200c\u200d\u2060\u00a0" // characters that users copy from documents without noticing
	switch {
	case strings.Contains(value, "-----BEGIN ") || strings.HasPrefix(value, "{") && json.Valid([]byte(value)):
		return "" // a key, a certificate or a key file, which has several lines
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
