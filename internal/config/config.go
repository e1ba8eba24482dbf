// Package config reads the configuration file. It reports everything that is wrong
// with it at once, each with its place.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// Config is what a file says.
type Config struct {
	Listen      Listen
	Limits      Limits
	Catalog     *catalog.Catalog
	Credentials *credentials.Set
	// ReplacedProviders are the IDs of built-in providers that the file replaces.
	ReplacedProviders []string
	Authentication    Authentication
	TokenCache        TokenCache
	// Policy says which callers may do what.
	Policy        *access.Policy
	Audit         Audit
	TokenRequests TokenRequests
	// Warnings are what is allowed, and cannot have been meant.
	Warnings strictyaml.Problems
}

// Options say where values come from. The zero value is usable.
type Options struct {
	// LookupEnv finds environment variables. Default: os.LookupEnv.
	LookupEnv func(name string) (value string, found bool)
	// Reading is called with the path of each file that is about to be read. Default:
	// nothing is.
	Reading func(path string)
}

func (o Options) withDefaults() Options {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Reading == nil {
		o.Reading = func(string) {}
	}
	return o
}

//go:embed config.schema.json
var configSchema []byte

const schemaID = "https://authmaterial.invalid/schema/config.json"

var schema = strictyaml.MustCompile(schemaID, map[string][]byte{
	schemaID:         configSchema,
	catalog.SchemaID: catalog.ProviderSchema(),
})

// Load reads the file at path. Relative paths in it are relative to its folder. The
// variables that name proxies have to be understood too. The error is strictyaml.Problems, or says
// why the file cannot be read.
func Load(path string, options Options) (*Config, error) {
	options = options.withDefaults()
	options.Reading(path)
	data, err := readConfiguration(path)
	if err != nil {
		return nil, err
	}
	config, err := Parse(path, data, options)
	problems, warnings := checkEnvironment(options)
	if err != nil || problems != nil {
		var inFile strictyaml.Problems
		if err != nil && !errors.As(err, &inFile) {
			return nil, err
		}
		return nil, append(problems, inFile...)
	}
	if everybodyWrites(path) {
		warnings = append(warnings, strictyaml.Problem{File: path, Line: 1, Column: 1, Message: "the file " + writable})
	}
	config.Warnings = append(warnings, config.Warnings...)
	return config, nil
}

// checkEnvironment returns what is wrong with variables that the file does not name.
func checkEnvironment(options Options) (problems, warnings strictyaml.Problems) {
	wrong, doubtful := egress.CheckProxies(options.LookupEnv)
	for _, message := range wrong {
		problems = append(problems, strictyaml.Problem{Message: message})
	}
	for _, message := range doubtful {
		warnings = append(warnings, strictyaml.Problem{Message: message})
	}
	return problems, warnings
}

// readConfiguration returns the content of a configuration file.
func readConfiguration(path string) ([]byte, error) {
	data, err := regularfile.Read(path, strictyaml.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("%s: the configuration file %w", path, err)
	}
	return data, nil
}

// unchecked are the keys below which `${` is not looked for: catalog.Define has looked through
// providers, a secret may contain it, the next three are texts for people, and the others have
// to be known names.
var unchecked = []string{"providers", "value", "display_name", "description", "labels", "id", "provider", "auth_method", "allowed_hosts"}

// Parse reads a configuration from data; path is what problems and relative paths
// refer to.
func Parse(path string, data []byte, options Options) (*Config, error) {
	options = options.withDefaults()
	document := strictyaml.Parse(path, data, schema)
	root := document.Root()
	reader := sourceReader{folder: filepath.Dir(path), options: options}
	catalog.ReportUnevaluated(root, unchecked...)
	config := &Config{
		Listen: parseListen(root.Key("listen"), root.Key("authentication"), reader),
		Limits: parseLimits(root.Key("limits")),
	}
	config.Catalog, config.ReplacedProviders = parseProviders(root.Key("providers"))
	config.Credentials = credentials.NewSet(parseCredentials(root.Key("credentials"), config.Catalog, reader)...)
	config.Authentication = parseAuthentication(root.Key("authentication"), reader)
	config.Policy = parsePolicy(root.Key("grants"), callersOf(config), config.Catalog, config.Credentials)
	if config.Policy.AllowsAll() {
		config.Listen.checkSocket(root.Key("listen").Key("socket_mode"))
	}
	config.TokenRequests = parseTokenRequests(root.Key("token_requests"), reader)
	config.Audit = parseAudit(root.Key("audit"), reader.folder)
	config.TokenCache = parseTokenCache(root.Key("token_cache"), reader)
	if err := document.Err(); err != nil {
		return nil, err
	}
	config.Warnings = document.Warnings()
	return config, nil
}

// parseProviders returns the built-in providers with those of the file, and the IDs of
// the ones that the file replaces.
func parseProviders(list strictyaml.Value) (all *catalog.Catalog, replaced []string) {
	all = catalog.Builtin()
	seen := map[string]bool{}
	for _, item := range list.Items() {
		provider := catalog.Define(item)
		switch id := item.Key("id"); {
		case provider.ID == "":
			continue
		case seen[provider.ID]:
			id.Problemf("this ID stands twice")
			continue
		case all.Provider(provider.ID) != nil:
			replaced = append(replaced, provider.ID)
		}
		seen[provider.ID] = true
		all = all.With(provider)
	}
	return all, replaced
}
