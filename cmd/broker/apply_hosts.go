package main

import (
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/expression"
)

// providedHosts returns the hosts that a provider has for a credential with the given values.
func providedHosts(provider *authmaterialv1.Provider, method *authmaterialv1.AuthMethod, values map[string]string) (hosts []string) {
	var variables []expression.Variable
	for _, field := range method.GetFields() {
		variables = append(variables, expression.Variable{Name: field.GetFieldId(), Optional: true})
	}
	environment, err := expression.NewEnvironment(variables...)
	if err != nil {
		return provider.GetAllowedHosts()
	}
	for _, text := range provider.GetAllowedHosts() {
		template, problems := environment.Compile(text)
		if problems != nil {
			continue // the host needs a field of another method
		}
		if host, set, err := template.Evaluate(values); set && err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
