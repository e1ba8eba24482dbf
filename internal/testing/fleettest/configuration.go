package fleettest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// FleetKeyVariable is the environment variable that contains the fleet key.
const FleetKeyVariable = "BROKER_FLEET_KEY"

const (
	configurationFile = "broker.yaml"
	grpcSocket        = "grpc"
	httpSocket        = "http"
)

type (
	object = map[string]any
	list   = []any
)

// `configuration` returns a broker's configuration. Each credential has its own provider, because
// the broker's metrics have a label for the provider but none for the credential.
func (f *Fleet) configuration(folder string) object {
	previous := map[bool]string{false: "KEPT", true: "ENDED"}[f.options.EndsPrevious]
	var providers, credentials list
	for _, c := range f.Credentials {
		method := object{
			"id": MethodID, "display_name": "Client",
			"fields": list{
				object{"id": "client_id", "display_name": "Client ID", "required": true, "secret": false},
				object{"id": "client_secret", "display_name": "Client secret", "required": true, "secret": true},
			},
			"token_request": object{
				"url": f.Provider.url, "body": "JSON", "client_authentication": "REQUEST_BODY", "previous_token": previous,
			},
			"headers": list{object{"name": "Authorization", "value": "Bearer ${token}"}},
		}
		providers = append(providers, object{
			"id": ProviderID(c.ID), "display_name": "Provider of " + c.ID, "allowed_hosts": list{"api.example.test"},
			"auth_methods": list{method},
		})
		credentials = append(credentials, object{
			"id": c.ID, "provider": ProviderID(c.ID), "auth_method": MethodID,
			"values": object{
				"client_id":     object{"file": filepath.Join(folder, clientIDFile(c.ID))},
				"client_secret": object{"file": filepath.Join(folder, clientSecretFile(c.ID))},
			},
		})
	}
	return object{
		"listen": object{
			"grpc": "unix://" + filepath.Join(folder, grpcSocket),
			"http": "unix://" + filepath.Join(folder, httpSocket),
		},
		"token_cache": object{"redis": f.options.Redis, "fleet_keys": list{object{"env": FleetKeyVariable}}},
		"providers":   providers,
		"credentials": credentials,
	}
}

// ProviderID returns the ID of the provider of a declared credential.
func ProviderID(credential string) string { return strings.ReplaceAll(credential, "-", "_") }

func clientIDFile(credential string) string { return credential + ".id" }

func clientSecretFile(credential string) string { return credential + ".secret" }

// Configure writes the broker's configuration file, and the files that it names, according to the
// current Options of the fleet. The function Start has already called Configure once.
func (b *Broker) Configure() {
	b.t.Helper()
	configuration := b.fleet.configuration(b.folder)
	b.fleet.options.Change(b.number, configuration)
	text, err := json.MarshalIndent(configuration, "", "  ")
	if err != nil {
		b.t.Fatal(err)
	}
	b.WriteFile(configurationFile, text)
	for _, c := range b.fleet.Credentials {
		b.SetClient(c.ID, c.Client)
	}
}

// SetClient writes the client ID and the client secret of a credential for this broker only. A
// running broker reads the written files again.
func (b *Broker) SetClient(credential string, client simulator.Client) {
	b.t.Helper()
	b.WriteFile(clientIDFile(credential), []byte(client.ID))
	b.WriteFile(clientSecretFile(credential), []byte(client.Secret))
}

// WriteFile replaces a file in the broker's folder atomically.
func (b *Broker) WriteFile(name string, content []byte) {
	b.t.Helper()
	path := filepath.Join(b.folder, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		b.t.Fatal(err)
	}
}
