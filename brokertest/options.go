package brokertest

import (
	"log/slog"

	"github.com/jonboulle/clockwork"
)

// Option changes what New makes.
type Option interface{ apply(*settings) }

// settings are what the options add up to.
type settings struct {
	config      []byte
	credentials []Credential
	providers   []string
	environment map[string]string
	clock       clockwork.Clock
	logger      *slog.Logger
	hosts       []string
	tls         bool
	secured     *secured // nil: without TLS
}

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithConfig takes a configuration file's text in place of the default one, which has
// one credential for each auth method of the built-in providers. Its section `listen`
// has no effect; see WithTLS.
//
// Environment variables are looked up in WithEnv first, and then among those of the
// simulator's accounts: SENDPULSE_CLIENT_ID, SENDPULSE_CLIENT_SECRET,
// SENDPULSE_API_KEY, PULSEDIVE_API_KEY, PENDO_API_KEY, SPOTDRAFT_CLIENT_ID,
// SPOTDRAFT_CLIENT_SECRET and SPOTDRAFT_USER_EMAIL. The environment of the test itself
// is not looked at.
func WithConfig(yaml string) Option {
	return optionFunc(func(s *settings) { s.config = []byte(yaml) })
}

// Credential is a credential of a test's own.
type Credential struct {
	// ID is what callers name. Required.
	ID string
	// Provider and AuthMethod are IDs, built-in ones or of WithProvider. Required.
	Provider   string
	AuthMethod string
	// Values are the fields' values by the fields' IDs.
	Values map[string]string
	// AllowedHosts are hosts beyond the provider's own.
	AllowedHosts []string
	// Disabled credentials are not found by callers.
	Disabled bool
}

// WithCredentials adds credentials to the configuration. Repeated use adds up.
func WithCredentials(credentials ...Credential) Option {
	return optionFunc(func(s *settings) { s.credentials = append(s.credentials, credentials...) })
}

// WithProvider adds the definition of a provider, in YAML as the configuration file has
// it, without the leading hyphen. Repeated use adds up.
func WithProvider(definition string) Option {
	return optionFunc(func(s *settings) { s.providers = append(s.providers, definition) })
}

// WithEnv sets an environment variable for the configuration.
func WithEnv(name, value string) Option {
	return optionFunc(func(s *settings) { s.environment[name] = value })
}

// WithClock sets the clock by which tokens live, in the broker and at the simulated
// providers: clockwork.NewFakeClock(), for example. Default: the real one. Deadlines of
// calls go by the real one in any case.
func WithClock(clock clockwork.Clock) Option {
	return optionFunc(func(s *settings) { s.clock = clock })
}

// WithLogger sets where the broker logs to. Default: the test's output, from the level
// warn on.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(s *settings) { s.logger = logger })
}

// WithHosts adds host names to those that lead to the simulator, for providers of a
// test's own. The host api.example.test always does.
func WithHosts(hosts ...string) Option {
	return optionFunc(func(s *settings) { s.hosts = append(s.hosts, hosts...) })
}
