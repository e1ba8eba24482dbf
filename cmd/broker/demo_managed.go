package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/simulated"
)

const (
	demoCredential = "pendo-europe"
	demoHost       = "app.eu.pendo.io"
)

// stayAt replaces the addresses of a demo that stays. Only tests change stayAt.
var stayAt = strings.NewReplacer()

// loadDemo returns the configuration of the demo, with a store in a folder. If the demo stays, `provider`
// is not nil, and the demo listens at the addresses of the example, and has a console; otherwise it
// listens in the folder.
func loadDemo(sim *simulator.Simulator, folder string, provider *demoProvider, calls []simulated.Call) (*config.Config, error) {
	text, environment, key := demoConfig(calls, provider), simulated.Environment(sim), fleetkeys.Generate()
	text += fmt.Sprintf("\nstore: {url: %q, keys: [{env: DEMO_STORE_KEY}]}\n", "sqlite://"+filepath.Join(folder, "broker.db"))
	if provider != nil {
		text = stayAt.Replace(text + "console: {address: 127.0.0.1:8081}\n")
	} else { // the owner of a private socket may manage credentials
		text = strings.NewReplacer("127.0.0.1:50051", "unix://"+filepath.Join(folder, "broker.sock"), "127.0.0.1:9464", "127.0.0.1:0").Replace(text)
	}
	loaded, err := config.Parse("demo.yaml", []byte(text), config.Options{LookupEnv: func(name string) (string, bool) {
		if name == "DEMO_STORE_KEY" {
			return key, true
		}
		return environment(name)
	}})
	if err == nil {
		loaded.Warnings = nil // the configuration has no managers, but the demo itself prints a link for one
	}
	return loaded, err
}

// managedDemo adds a credential to a running broker, and rotates it.
type managedDemo struct {
	out         io.Writer
	connection  *grpc.ClientConn
	credentials authmaterialv1.CredentialServiceClient
	providers   http.RoundTripper
	etag        string
}

func showManaged(ctx context.Context, out io.Writer, connection *grpc.ClientConn, sim *simulator.Simulator) error {
	d := &managedDemo{
		out: out, connection: connection, credentials: authmaterialv1.NewCredentialServiceClient(connection), providers: sim.Transport(),
	}
	fmt.Fprint(out, "\nThe next credential is not in the configuration file. People manage it while the broker runs.\n\n")
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return d.create(ctx, sim.Pendo.AddKey(demoHost)) },
		func(ctx context.Context) error { return d.rotate(ctx, "wrong-key") },
		func(ctx context.Context) error { return d.rotate(ctx, sim.Pendo.AddKey(demoHost)) },
		d.rollBack,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%s: %w", demoCredential, err)
		}
	}
	return nil
}

func apiKey(value string) []*authmaterialv1.FieldValue {
	return []*authmaterialv1.FieldValue{{Field: "api_key", Value: value}}
}

func (d *managedDemo) create(ctx context.Context, key string) error {
	created, err := d.credentials.CreateCredential(ctx, &authmaterialv1.CreateCredentialRequest{
		CredentialId: demoCredential,
		Credential:   &authmaterialv1.Credential{DisplayName: "Pendo, Europe", Provider: "pendo", AuthMethod: "api_key"},
		Values:       apiKey(key),
	})
	if err != nil {
		return err
	}
	d.etag = created.GetCredential().GetEtag()
	return d.use(ctx, "created version 1")
}

// rotate adds a version, which becomes active if Pendo accepts it.
func (d *managedDemo) rotate(ctx context.Context, key string) error {
	rotated, err := d.credentials.CreateCredentialVersion(ctx, &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: demoCredential, Etag: d.etag, Values: apiKey(key), Verify: true, Activate: true,
	})
	if err != nil {
		return err
	}
	d.etag = rotated.GetCredential().GetEtag()
	version := rotated.GetVersion()
	what := fmt.Sprintf("added version %d, which Pendo refuses, so it is not activated", version.GetVersion())
	if version.GetState() == authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
		what = fmt.Sprintf("added version %d, which Pendo accepts, and activated it", version.GetVersion())
	}
	return d.use(ctx, what)
}

func (d *managedDemo) rollBack(ctx context.Context) error {
	_, err := d.credentials.ActivateCredentialVersion(ctx, &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: demoCredential, Version: 1, Etag: d.etag,
	})
	if err != nil {
		return err
	}
	return d.use(ctx, "rolled back to version 1")
}

// use calls Pendo with the credential, as a service would. It prints `before`, a text about what
// happened before the call, and the result of the call.
func (d *managedDemo) use(ctx context.Context, before string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+demoHost+"/api/v1/token/verify", nil)
	if err != nil {
		return err
	}
	caller := client.New(d.connection)
	defer caller.Close()
	response, err := caller.Transport(demoCredential, d.providers).RoundTrip(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"valid":true`) {
		return fmt.Errorf("pendo did not accept the material: %s", response.Status)
	}
	fmt.Fprintf(d.out, "  %s: %s\n    a call with it: %s: accepted\n", demoCredential, before, response.Status)
	return nil
}
