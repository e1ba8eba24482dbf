// Package config reads the configuration file and reports all its problems at once, each with its
// line and column.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Config is the content of a configuration file.
type Config struct {
	Listen      Listen
	Limits      Limits
	Catalog     *catalog.Catalog
	Credentials *credentials.Set
	// ReplacedProviders are the IDs of the built-in providers that the file redefines.
	ReplacedProviders []string
	Authentication    Authentication
	TokenCache        TokenCache
	Policy            *access.Policy
	Audit             Audit
	// Store is the database of managed credentials; nil: all credentials are in the file.
	Store *Store
	// Console is the console for people; nil: there is no console.
	Console *Console
	// Proxies are the proxies that may ask the broker.
	Proxies       Proxies
	TokenRequests TokenRequests
	// Warnings are about settings that are allowed but are probably mistakes.
	Warnings yamlfile.Problems
}

// Options are the options of Load and Parse. The zero value is usable.
type Options struct {
	// LookupEnv looks up an environment variable. By default, LookupEnv is os.LookupEnv.
	LookupEnv func(name string) (value string, found bool)
	// GrantSource is the Source of all grants, for a text that is no file. By default, the Source of a
	// grant is its place in the file.
	GrantSource string
	// Reading, if not nil, is called with the path of each file before the file is read.
	Reading func(path string)
}

type parser struct {
	document *yamlfile.Document
	// others are the documents of the files in the providers directory.
	others  []*yamlfile.Document
	folder  string // the folder of the configuration file, to which paths may be relative
	options Options
	// If unread is true, the parser does not read the values of credentials and reports no problems
	// with them.
	unread bool
	// faulty are the providers whose definitions have problems.
	faulty map[*catalog.Provider]bool
	// If lacksStore is true, credentials whose refresh tokens must be stored are reported.
	lacksStore bool
}

var sections = []string{"listen", "limits", "credentials", "providers", "providers_directory", "authentication", "grants", "audit", "token_cache", "token_requests", "store", "console", "proxies"}

// Load reads the configuration file at path. Relative paths in the file are relative to its folder.
// Load also checks the environment variables that configure proxies. An error of Load either has
// the type yamlfile.Problems, or states why the file cannot be read.
func Load(path string, options Options) (*Config, error) { return NewLoader(path).Load(options) }

// Load does the same as the package's function Load, but parses only the credentials that have
// changed.
func (l *Loader) Load(options Options) (*Config, error) {
	if options.Reading != nil {
		options.Reading(l.path)
	}
	data, err := readFile(l.path)
	if err != nil {
		return nil, err
	}
	config, err := l.parse(data, options)
	wrong, doubtful := egress.CheckProxies(options.lookupEnv)
	if err != nil || len(wrong) > 0 {
		var problems yamlfile.Problems
		errors.As(err, &problems)
		return nil, append(withoutPlace(wrong), problems...)
	}
	warnings := withoutPlace(doubtful)
	if everybodyWrites(l.path) {
		warnings = append(warnings, yamlfile.Problem{File: l.path, Place: yamlfile.Place{Line: 1, Column: 1}, Message: "the file " + writable})
	}
	config.Warnings = append(warnings, config.Warnings...)
	return config, nil
}

// withoutPlace makes problems that have no line, because they are about the environment and not
// about the file.
func withoutPlace(messages []string) (problems yamlfile.Problems) {
	for _, message := range messages {
		problems = append(problems, yamlfile.Problem{Message: message})
	}
	return problems
}

func readFile(path string) ([]byte, error) {
	data, err := regularfile.Read(path, yamlfile.MaxSize)
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.Size() > yamlfile.MaxSize {
		return nil, fmt.Errorf("%s: the configuration file has %d bytes, which is more than the limit of %d MiB",
			path, info.Size(), yamlfile.MaxSize>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the configuration file %w", path, err)
	}
	return data, nil
}

func (o Options) lookupEnv(name string) (value string, found bool) {
	if o.LookupEnv == nil {
		return os.LookupEnv(name)
	}
	return o.LookupEnv(name)
}

// Parse reads a configuration from data. The path is shown in problems. Relative paths in the
// configuration are relative to the folder of path.
func Parse(path string, data []byte, options Options) (*Config, error) {
	return NewLoader(path).parse(data, options)
}

func (l *Loader) parse(data []byte, options Options) (*Config, error) {
	document, items := l.read(data)
	p := &parser{document: document, folder: filepath.Dir(l.path), options: options}
	root := document.Root().Mapping(sections...)
	config := &Config{
		Limits:         readLimits(root.Get("limits")),
		Authentication: p.readAuthentication(root.Get("authentication")),
		TokenRequests:  p.readTokenRequests(root.Get("token_requests")),
		Audit:          p.readAudit(root.Get("audit")),
		TokenCache:     p.readTokenCache(root.Get("token_cache")),
	}
	config.Listen = p.readListen(root, config.Authentication.Remote())
	config.Catalog, config.ReplacedProviders = p.readProviders(root)
	p.lacksStore = !root.Get("store").Exists()
	config.Credentials = credentials.NewSet(p.makeCredentials(items, config.Catalog)...)
	config.Console = p.readConsole(root.Get("console"), config.Listen, config.Authentication.Issuers)
	config.Proxies = readProxies(root.Get("proxies"), config.Listen)
	config.Store = p.readStore(root.Get("store"), config)
	config.Policy = readPolicy(root.Get("grants"), l.path, config, options.GrantSource)
	config.warnOfManagers(root.Get("store"))
	if config.Policy.AllowsAll() && config.Listen.OpenToUsers() {
		root.Get("listen").Get("socket_mode").Problemf("every user of this machine could get the secrets: add 'grants' that list the allowed callers, such as uid:1000; or set \"0600\", so that only the broker's user can connect, or \"0660\" for its group, too")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	config.Warnings = document.Warnings()
	l.remember(items)
	return config, nil
}

// LoadProviders returns the built-in providers and the providers that the file at path and its
// 'providers_directory' define, and ignores the other sections of the file, even if they have problems.
// LoadProviders returns the same types of errors as Load.
func LoadProviders(path string) (*catalog.Catalog, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	document := yamlfile.Parse(path, data)
	p := &parser{document: document, folder: filepath.Dir(path)}
	providers, _ := p.readProviders(document.Root().Requires())
	return providers, p.err()
}

// LoadCredentials returns the credentials of the file at path, in the file's order and without
// values. LoadCredentials reads no environment variable, and no other files than those in
// 'providers_directory'. It checks only the credentials and the providers. LoadCredentials returns the
// same types of errors as Load.
func LoadCredentials(path string) ([]*credentials.Credential, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	document, items := NewLoader(path).read(data)
	p := &parser{document: document, folder: filepath.Dir(path), unread: true}
	providers, _ := p.readProviders(document.Root().Mapping(sections...))
	listed := p.makeCredentials(items, providers)
	return listed, p.err()
}
