package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// AccountConfig describes an account for [Simulator.AddAccount].
type AccountConfig struct {
	// Provider is the ID of a built-in provider, or of a provider from [Simulator.Define]. Required.
	Provider string
	// AuthMethod is the ID of one of the provider's auth methods. It may be empty if the provider has
	// only one.
	AuthMethod string
	// Values are values of the auth method's fields, by field ID. The simulator makes a value for each
	// required field that is not in Values. A field with an empty value is not set.
	Values map[string]string
	// AllowedHosts are hosts of the API in addition to the hosts in the provider's definition.
	AllowedHosts []string
}

// definitions are the accounts and the providers from Define. The zero value is empty.
type definitions struct {
	mutex     sync.RWMutex
	providers map[string]*catalog.Provider
	accounts  []*Account
}

// Define adds a provider of which AddAccount can make accounts. The definition is YAML in the form
// that the broker's configuration file has, but without the leading hyphen. The provider replaces a
// built-in provider, or an earlier one from Define, that has the same ID. Define returns an error that
// lists the problems of the definition with their positions.
func (s *Simulator) Define(definition string) error {
	document := yamlfile.Parse("definition", []byte(definition))
	provider := catalog.Define(document.Root())
	if err := document.Err(); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	s.defined.mutex.Lock()
	defer s.defined.mutex.Unlock()
	if s.defined.providers == nil {
		s.defined.providers = map[string]*catalog.Provider{}
	}
	s.defined.providers[provider.ID] = provider
	return nil
}

func (s *Simulator) definition(config AccountConfig) (*catalog.Provider, *catalog.AuthMethod, error) {
	s.defined.mutex.RLock()
	defer s.defined.mutex.RUnlock()
	provider := cmp.Or(s.defined.providers[config.Provider], catalog.Builtin().Provider(config.Provider))
	if provider == nil {
		return nil, nil, fmt.Errorf("simulator: there is no provider %q: name a built-in provider, or call Define first", config.Provider)
	}
	method := provider.AuthMethod(config.AuthMethod)
	if config.AuthMethod == "" && len(provider.AuthMethods) == 1 {
		method = provider.AuthMethods[0]
	}
	if method == nil {
		var ids []string
		for _, method := range provider.AuthMethods {
			ids = append(ids, method.ID)
		}
		return nil, nil, fmt.Errorf("simulator: set AuthMethod to an auth method of %s: %s", provider.ID, strings.Join(ids, ", "))
	}
	for field := range config.Values {
		if method.Field(field) == nil {
			return nil, nil, fmt.Errorf("simulator: the auth method %s of %s has no field %q", method.ID, provider.ID, field)
		}
	}
	return provider, method, nil
}

// AddAccount simulates an auth method of a provider as the provider's definition describes it, and
// returns a new account, whose secrets are random.
func (s *Simulator) AddAccount(config AccountConfig) (*Account, error) {
	provider, method, err := s.definition(config)
	if err != nil {
		return nil, err
	}
	a := &Account{
		API: new(API), provider: provider, method: method, clock: s.clock, secrets: &s.secrets,
		label: randomHex(8), sessions: [][]variables{{nil}}, lifetime: DefaultTokenLifetime, jwts: map[string]bool{},
	}
	if a.values, err = makeValues(provider, method, config); err == nil {
		err = a.prepare(config.AllowedHosts)
	}
	if err == nil {
		err = s.certificate.add(a.serverNames()...)
	}
	if err != nil {
		return nil, fmt.Errorf("simulator: an account of %s: %w", provider.ID, err)
	}
	for _, field := range method.Fields {
		if value := a.values[field.ID]; value != "" && (field.Secret || !field.SecretStated) {
			s.secrets.keep(value)
		}
	}
	s.defined.mutex.Lock()
	defer s.defined.mutex.Unlock()
	s.defined.accounts = append(s.defined.accounts, a)
	return a, nil
}

// prepare sets what follows from the account's values.
func (a *Account) prepare(more []string) (err error) {
	own, err := a.provider.HostsOfCustomer(a.values)
	if err == nil {
		a.hosts, err = a.provider.Hosts(a.values, slices.Concat(own, more))
	}
	if err != nil {
		return err
	}
	if definition := a.jwt(); definition != nil {
		if a.key, err = verificationKey(definition, a.values); err != nil {
			return err
		}
	}
	request := a.method.TokenRequest
	if request == nil {
		return nil
	}
	a.lifetime = min(a.lifetime, request.DefaultLifetime)
	a.sessions = append(a.sessions, make([][]variables, len(request.First))...)
	known := a.values.with(variables{catalog.JWTVariable: "jwt"})
	for _, first := range request.First {
		for name := range first.Values {
			known[first.ID+"."+name] = a.newValue(first.ID + "." + name)
		}
	}
	for _, definition := range a.requests() {
		target, err := definition.URL.Evaluate(known, a.allows)
		switch {
		case err != nil && len(request.First) == 0:
			return err
		case err == nil && target.Scheme != "https":
			return errors.New("a URL of the definition is not https, so the simulator cannot serve it")
		case err == nil:
			a.tokenHosts = append(a.tokenHosts, target.Host)
		}
	}
	return nil
}

// serverNames returns the hosts of the account without ports.
func (a *Account) serverNames() []string {
	names := map[string]bool{}
	for _, host := range slices.Concat(a.hosts, a.tokenHosts) {
		names[hostname(host)] = true
	}
	return slices.Collect(maps.Keys(names))
}
