package brokertest

import (
	"log/slog"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// Option changes the broker that New creates.
type Option interface{ apply(*settings) }

type settings struct {
	config      []byte
	credentials []Credential
	providers   []string
	environment map[string]string
	clock       clockwork.Clock
	logger      *slog.Logger
	hosts       []string
	tls         bool
	secured     *secured // nil without TLS
	accounts    map[string]*simulator.Account
}

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithConfig replaces the text of the default configuration file, which has one credential for
// each auth method of SendPulse, Pulsedive, Pendo and SpotDraft. The section `listen` has no effect;
// use WithTLS instead.
//
// The broker takes environment variables from WithEnv first, then from the simulator's accounts:
// SENDPULSE_CLIENT_ID, SENDPULSE_CLIENT_SECRET, SENDPULSE_API_KEY, PULSEDIVE_API_KEY,
// PENDO_API_KEY, SPOTDRAFT_CLIENT_ID, SPOTDRAFT_CLIENT_SECRET and SPOTDRAFT_USER_EMAIL. The broker
// does not use the environment of the test process.
func WithConfig(yaml string) Option {
	return optionFunc(func(s *settings) { s.config = []byte(yaml) })
}

// Credential describes a credential that a test adds to the configuration.
type Credential struct {
	// ID is the ID by which callers ask for the credential. Required.
	ID string
	// Provider is the ID of a built-in provider, or of one from WithProvider, and AuthMethod the
	// ID of one of its auth methods. Required.
	Provider   string
	AuthMethod string
	// Values are the values of the auth method's fields, by field ID.
	Values map[string]string
	// AllowedHosts are hosts that may receive the credential, in addition to the provider's own.
	AllowedHosts []string
	// If Simulated is true, the simulator simulates the provider from its definition, and makes an
	// account, whose values the credential gets. The simulator makes a value for each required field
	// that is not in Values. [Broker.Account] returns the account.
	Simulated bool
	// If Disabled is true, calls for the credential fail as if it did not exist.
	Disabled bool
}

// WithCredentials adds credentials to the configuration. The option may be used repeatedly.
func WithCredentials(credentials ...Credential) Option {
	return optionFunc(func(s *settings) { s.credentials = append(s.credentials, credentials...) })
}

// WithProvider adds a provider definition in YAML, in the form that the configuration file has,
// but without the leading hyphen. The option may be used repeatedly.
func WithProvider(definition string) Option {
	return optionFunc(func(s *settings) { s.providers = append(s.providers, definition) })
}

// WithEnv sets an environment variable for the configuration.
func WithEnv(name, value string) Option {
	return optionFunc(func(s *settings) { s.environment[name] = value })
}

// WithClock sets the clock by which the broker and the simulated providers compute the lifetime of
// tokens, for example clockwork.NewFakeClock(). By default, the broker and the providers use the
// real clock. Deadlines of calls always use the real clock.
func WithClock(clock clockwork.Clock) Option {
	return optionFunc(func(s *settings) { s.clock = clock })
}

// WithLogger sets the broker's logger. By default, log lines of level warn and above go to the
// test's output.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(s *settings) { s.logger = logger })
}

// WithHosts adds host names of providers that a test defines. For these names, too, the broker and
// the client from HTTPClient connect to the simulator. The host api.example.test always belongs to
// the simulator, without this option.
func WithHosts(hosts ...string) Option {
	return optionFunc(func(s *settings) { s.hosts = append(s.hosts, hosts...) })
}
