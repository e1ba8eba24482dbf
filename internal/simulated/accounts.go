package simulated

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
)

// AddAccounts simulates built-in providers from their definitions. It returns a call for each of their
// auth methods, with an account. The error names the built-in providers if one of the IDs is not among
// them.
func AddAccounts(sim *simulator.Simulator, providers []string) (calls []Call, err error) {
	for _, id := range providers {
		provider := catalog.Builtin().Provider(id)
		if provider == nil {
			return nil, fmt.Errorf("there is no built-in provider %q; there are: %s", id, strings.Join(builtinIDs(), ", "))
		}
		for _, method := range provider.AuthMethods {
			account, err := sim.AddAccount(simulator.AccountConfig{Provider: id, AuthMethod: method.ID})
			if err != nil {
				return nil, err
			}
			credential := id
			if len(provider.AuthMethods) > 1 {
				credential += "-" + method.ID
			}
			calls = append(calls, Call{
				Credential: credential, URL: "https://" + account.Hosts()[0] + "/", Recognised: account.RecognisedRequests,
				Provider: id, AuthMethod: method.ID, Account: account,
			})
		}
	}
	return calls, nil
}

func builtinIDs() (ids []string) {
	for _, provider := range catalog.Builtin().Providers() {
		ids = append(ids, provider.ID)
	}
	return ids
}

// ConfigOf returns a configuration file with the credentials of calls from AddAccounts. The first
// credential may also be sent to the given hosts. The file contains the secrets.
func ConfigOf(calls []Call, hosts ...string) []byte {
	type value struct {
		Value string `json:"value"`
	}
	type credential struct {
		ID           string           `json:"id"`
		Provider     string           `json:"provider"`
		AuthMethod   string           `json:"auth_method"`
		AllowedHosts []string         `json:"allowed_hosts"`
		Values       map[string]value `json:"values"`
	}
	var credentials []credential
	for i, call := range calls {
		c := credential{call.Credential, call.Provider, call.AuthMethod, call.Account.Hosts(), map[string]value{}}
		if i == 0 {
			c.AllowedHosts = append(c.AllowedHosts, hosts...)
		}
		for field, text := range call.Account.Values() {
			c.Values[field] = value{text}
		}
		credentials = append(credentials, c)
	}
	text, _ := json.MarshalIndent(credentials, "", " ") // strings can always be encoded
	return fmt.Appendf(nil, "listen: {grpc: 127.0.0.1:50051, http: 127.0.0.1:9464}\ncredentials: %s\n", text)
}
