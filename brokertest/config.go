package brokertest

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/simulated"
)

func (s *settings) load(sim *simulator.Simulator) (*config.Config, error) {
	if err := s.addAccounts(sim); err != nil {
		return nil, err
	}
	text, err := s.compose()
	if err != nil {
		return nil, err
	}
	simulatedVariable := simulated.Environment(sim)
	return config.Parse("brokertest.yaml", text, config.Options{
		LookupEnv: func(name string) (string, bool) {
			if value, found := s.environment[name]; found {
				return value, true
			}
			return simulatedVariable(name)
		},
	})
}

// addAccounts makes the accounts of simulated credentials, and gives the credentials the accounts'
// values and hosts.
func (s *settings) addAccounts(sim *simulator.Simulator) error {
	s.accounts = map[string]*simulator.Account{}
	isSimulated := func(credential Credential) bool { return credential.Simulated }
	if !slices.ContainsFunc(s.credentials, isSimulated) {
		return nil
	}
	for _, definition := range s.providers {
		if err := sim.Define(definition); err != nil {
			return err
		}
	}
	for i, credential := range s.credentials {
		if !credential.Simulated {
			continue
		}
		account, err := sim.AddAccount(simulator.AccountConfig{
			Provider: credential.Provider, AuthMethod: credential.AuthMethod,
			Values: credential.Values, AllowedHosts: credential.AllowedHosts,
		})
		if err != nil {
			return err
		}
		s.credentials[i].Values, s.credentials[i].AllowedHosts = account.Values(), account.Hosts()
		s.accounts[credential.ID] = account
	}
	return nil
}

// compose returns the text of the configuration file, including the settings from the options that
// the test passed to New.
func (s *settings) compose() ([]byte, error) {
	if len(s.credentials) == 0 && len(s.providers) == 0 && s.secured == nil {
		return s.config, nil
	}
	file := map[string]any{}
	if err := yaml.Load(s.config, &file); err != nil {
		return nil, err
	}
	credentials, _ := file["credentials"].([]any)
	for _, credential := range s.credentials {
		credentials = append(credentials, credential.yaml())
	}
	providers, _ := file["providers"].([]any)
	for _, definition := range s.providers {
		var provider map[string]any
		if err := yaml.Load([]byte(definition), &provider); err != nil {
			return nil, fmt.Errorf("parse a provider definition: %w", err)
		}
		providers = append(providers, provider)
	}
	file["credentials"], file["providers"] = credentials, providers
	if s.secured != nil {
		file["listen"] = s.secured.listen()
	}
	return yaml.Dump(file)
}

func (c Credential) yaml() map[string]any {
	values := map[string]any{}
	for field, value := range c.Values {
		values[field] = map[string]string{"value": value}
	}
	return map[string]any{
		"id": c.ID, "provider": c.Provider, "auth_method": c.AuthMethod, "values": values,
		"allowed_hosts": append([]string{}, c.AllowedHosts...), "disabled": c.Disabled,
	}
}
