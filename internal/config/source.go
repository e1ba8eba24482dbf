package config

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// maxSecretFile is the largest file that a value is read from, in bytes.
const maxSecretFile = 64 << 10

// sourceReader reads the values that sources name: `{env: NAME}`, `{file: PATH}` or
// `{value: TEXT}`.
type sourceReader struct {
	folder  string
	options Options
	// unread has read return no value, and report no problem.
	unread bool
}

// read returns the value, or reports at the source why there is none. It warns of a value that
// is probably not the one that was meant.
func (r sourceReader) read(source strictyaml.Value) (value secret.Text, ok bool) {
	entries := source.Entries()
	if len(entries) != 1 {
		return secret.Text{}, false // the schema has reported it
	}
	given := entries[0].Value
	text, subject := given.Text(), "the value"
	if text == "" {
		return secret.Text{}, false // likewise
	}
	if r.unread {
		return secret.Text{}, false
	}
	switch entries[0].Name {
	case "env":
		text, ok = r.readEnv(given)
		subject = "the value of the environment variable" + shown(given.Text())
	case "file":
		text, ok = r.readFile(given)
		subject = "the content of the file"
	case "value":
		ok = true
	}
	if !ok {
		return secret.Text{}, false
	}
	if doubt := doubt(text); doubt != "" {
		given.Warnf("%s %s", subject, doubt)
	}
	return secret.New(text), true
}

// readSecret is read for a source that cannot hold the value itself.
func (r sourceReader) readSecret(source strictyaml.Value) (value secret.Text, ok bool) {
	if source.Key("value").Exists() {
		return secret.Text{}, false // the schema has reported it
	}
	return r.read(source)
}

func (r sourceReader) readEnv(name strictyaml.Value) (value string, ok bool) {
	value, found := r.options.LookupEnv(name.Text())
	switch {
	case !found:
		name.Problemf("the environment variable%s is not set", shown(name.Text()))
	case value == "":
		name.Problemf("the environment variable%s is empty", shown(name.Text()))
	}
	return value, value != ""
}

// conventional is what environment variables are named like.
var conventional = regexp.MustCompile(`^[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,16}){0,7}$`)

// shown is the name of a variable in a sentence, if it looks like one: somebody may have
// put the secret itself there.
func shown(name string) string {
	if conventional.MatchString(name) {
		return " " + name
	}
	return ""
}

func (r sourceReader) readFile(given strictyaml.Value) (text string, ok bool) {
	text, ok = r.readWhole(given, maxSecretFile)
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if ok && text == "" {
		given.Problemf("the file is empty%s", r.where(given.Text()))
	}
	return text, text != ""
}

// readWhole returns the content of the file at a given path, up to limit bytes, or reports
// why it cannot be read.
func (r sourceReader) readWhole(given strictyaml.Value, limit int64) (string, bool) {
	path := given.Text()
	if path == "" {
		return "", false // the schema has reported it
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.folder, path)
	}
	r.options.Reading(path)
	data, err := regularfile.Read(path, limit)
	if err != nil {
		given.Problemf("the file %s%s", err, r.where(given.Text()))
		return "", false
	}
	if everybodyWrites(path) {
		given.Warnf("the file %s", writable)
	}
	return string(data), true
}

const writable = "can be written by every user of this machine, who can so decide what it says: chmod o-w"

// everybodyWrites reports whether every user may write to a file. That they may read one is no
// news: Kubernetes mounts Secrets so, for the one user of a container.
func everybodyWrites(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0
}

// where says what a relative path is relative to. The path itself is not shown: somebody
// may have put the secret there.
func (r sourceReader) where(path string) string {
	if filepath.IsAbs(path) {
		return ""
	}
	return "; a relative path is relative to " + r.folder
}
