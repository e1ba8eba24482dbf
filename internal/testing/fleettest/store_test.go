package fleettest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// stress returns its second argument if the environment variable BROKER_STRESS is set, and
// otherwise its first argument.
func stress(test, full int) int {
	if os.Getenv("BROKER_STRESS") != "" {
		return full
	}
	return test
}

// `managed` contains a fleet of three brokers with a credential store in PostgreSQL, and traffic.
type managed struct {
	*testing.T
	fleet       *fleettest.Fleet
	postgres    *postgrestest.Server
	database    string                 // the address of the database
	credentials []fleettest.Credential // the managed credentials, each with its first client ID and client secret
	load        *fleettest.Load

	mu      sync.Mutex
	clients map[string][]string // all client IDs that a credential has had, by credential ID
}

func postgresStore(t *testing.T, server *postgrestest.Server) map[string]any {
	t.Helper()
	return map[string]any{
		"url": server.Database(t), "user": file(t, postgrestest.User), "password": file(t, postgrestest.Password),
		"keys": []any{file(t, fleetkeys.Generate())},
	}
}

// `file` writes a file, and returns the value that names it in a configuration.
func file(t *testing.T, content string) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"file": path}
}

func newManaged(t *testing.T) *managed {
	t.Helper()
	m := &managed{T: t, postgres: postgrestest.Start(t), clients: map[string][]string{}}
	store := postgresStore(t, m.postgres)
	m.database = store["url"].(string)
	m.fleet = fleettest.Start(t, fleettest.Options{
		Redis: oneRedis(redistest.Start(t)), Brokers: 3, Credentials: 5, Lifetime: time.Minute,
		Change: func(_ int, configuration map[string]any) {
			configuration["store"] = store
		},
	})
	for n := range 20 {
		m.create(fmt.Sprintf("managed-%02d", n))
	}
	m.fleet.Await("every broker serves every managed credential", func() error {
		for _, b := range m.fleet.Brokers {
			for _, c := range m.credentials {
				if err := m.check(m.fleet.Ask(b, 0, c)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	m.load = m.fleet.StartLoad(fleettest.LoadOptions{
		Credentials: append(slices.Clone(m.credentials), m.fleet.Credentials...), Check: m.check, Pause: 100 * time.Millisecond,
	})
	return m
}

func (m *managed) create(id string) {
	m.Helper()
	c := fleettest.Credential{ID: id, Client: m.newClient(id)}
	_, err := m.fleet.Brokers[0].Manager(0).CreateCredential(m.Context(), &authmaterialv1.CreateCredentialRequest{
		CredentialId: id, Values: valuesOf(c.Client),
		Credential: &authmaterialv1.Credential{DisplayName: id, Provider: fleettest.ProviderID(m.fleet.Credentials[0].ID), AuthMethod: fleettest.MethodID},
	})
	if err != nil {
		m.Fatal(err)
	}
	m.credentials = append(m.credentials, c)
}

func (m *managed) newClient(id string) simulator.Client {
	client := m.fleet.Provider.AddClient(simulator.Client{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[id] = append(m.clients[id], client.ID)
	return client
}

func valuesOf(client simulator.Client) []*authmaterialv1.FieldValue {
	return []*authmaterialv1.FieldValue{{Field: "client_id", Value: client.ID}, {Field: "client_secret", Value: client.Secret}}
}

// check returns an error unless the answer contains a valid token for the current or an earlier
// client ID of the credential.
func (m *managed) check(a fleettest.Answer) error {
	if a.Err != nil {
		return fmt.Errorf("the call failed: %s", fleettest.Describe(a.Err))
	}
	if !strings.HasPrefix(a.Credential.ID, "managed") {
		return m.fleet.Check(a)
	}
	m.mu.Lock()
	clients := slices.Clone(m.clients[a.Credential.ID])
	m.mu.Unlock()
	for _, id := range clients {
		if m.fleet.Provider.Accepts(a.Decoration, simulator.Client{ID: id}) {
			return nil
		}
	}
	return errors.New("the token belongs to another client, or is not valid")
}

// rotate creates a version of a credential with a new client ID at one broker, and returns the
// times until each broker serves a token for this client ID.
func (m *managed) rotate(n int) (delays []time.Duration) {
	m.Helper()
	at, c := m.fleet.Brokers[n%len(m.fleet.Brokers)], m.credentials[n%len(m.credentials)]
	client := m.newClient(c.ID)
	_, err := at.Manager(n).CreateCredentialVersion(m.Context(), &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: c.ID, Reset_: true, Values: valuesOf(client), Activate: true,
	})
	if err != nil {
		m.Fatalf("the rotation of %s at %s failed: %v", c.ID, at.Name, err)
	}
	began := time.Now()
	for _, b := range m.fleet.Brokers {
		for {
			answer := m.fleet.Ask(b, n, c)
			if answer.Err != nil || time.Since(began) > fleettest.Patience {
				m.Fatalf("%s does not serve the new version of %s: %v", b.Name, c.ID, answer.Err)
			}
			if m.fleet.Provider.Accepts(answer.Decoration, client) {
				break
			}
			<-time.After(5 * time.Millisecond) // so that the brokers can use the CPU
		}
		delays = append(delays, time.Since(began))
	}
	return delays
}

// `ended` stops the traffic, and fails the test if calls failed.
func (m *managed) ended() {
	m.Helper()
	if err := m.load.Stop().Err(); err != nil {
		m.Error(err)
	}
	m.Logf("%v", m.load)
}

// A change at one broker is served by all brokers within a second, and no call fails meanwhile.
func TestStoreChangesReachAllBrokers(t *testing.T) {
	m := newManaged(t)
	watch := m.fleet.WatchReadiness()
	last := m.fleet.Brokers[len(m.fleet.Brokers)-1]
	watched := m.fleet.Watch(last, m.credentials...)
	var delays []time.Duration
	for n := range stress(15, 300) {
		delays = append(delays, m.rotate(n)...)
		c := m.credentials[n%len(m.credentials)]
		served := m.fleet.Ask(last, 0, c).Decoration.GetVersion()
		if took := m.fleet.Await("the watch has the new version of "+c.ID, func() error {
			if got := watched.Version(c.ID); got != served {
				return fmt.Errorf("the watch has the version %q, want %q", got, served)
			}
			return nil
		}); took > time.Second {
			t.Errorf("an open watch received a change only after %v, want a second at most", took)
		}
	}
	slices.Sort(delays)
	t.Logf("served after: median %v, p99 %v, longest %v", delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
	if longest := delays[len(delays)-1]; longest > time.Second {
		t.Errorf("a change was served by all brokers only after %v, want a second at most", longest)
	}
	m.ended()
	if _, err := watch(); err != nil {
		t.Error(err)
	}
}

// Of many updates with the same etag, one succeeds.
func TestStoreLetsOneUpdateSucceed(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	for round := range stress(2, 20) {
		c := m.credentials[round%len(m.credentials)]
		found, err := m.fleet.Brokers[0].Manager(0).GetCredential(t.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: c.ID})
		if err != nil {
			t.Fatal(err)
		}
		reasons, names := m.updateAtOnce(200, c.ID, found.GetCredential().GetEtag())
		if want := map[string]int{"": 1, "CREDENTIAL_CHANGED": 199}; !maps.Equal(reasons, want) {
			t.Errorf("the updates ended with %v, want %v", reasons, want)
		}
		m.fleet.Await("every broker shows the update that succeeded", func() error {
			for _, b := range m.fleet.Brokers {
				found, err := b.Manager(0).GetCredential(t.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: c.ID})
				if err != nil || found.GetCredential().GetDisplayName() != names {
					return fmt.Errorf("%s: %q, %w", b.Name, found.GetCredential().GetDisplayName(), err)
				}
			}
			return nil
		})
	}
	m.ended()
}

// updateAtOnce makes updates with the same etag at the same time. The result `reasons` contains the
// number of updates that failed for each reason, and of those that succeeded under the key "". The
// result `name` is the display name that a successful update set.
func (m *managed) updateAtOnce(updates int, id, etag string) (reasons map[string]int, name string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	reasons = map[string]int{}
	begin := make(chan struct{})
	for n := range updates {
		all.Go(func() {
			<-begin
			given := fmt.Sprint("update ", n)
			err := m.update(m.fleet.Brokers[n%len(m.fleet.Brokers)], id, etag, given)
			mu.Lock()
			defer mu.Unlock()
			if reasons[reasonOf(err)]++; err == nil {
				name = given
			}
		})
	}
	close(begin)
	all.Wait()
	return reasons, name
}

func (m *managed) update(b *fleettest.Broker, id, etag, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), fleettest.Patience)
	defer cancel()
	_, err := b.Manager(0).UpdateCredential(ctx, &authmaterialv1.UpdateCredentialRequest{
		Credential: &authmaterialv1.Credential{CredentialId: id, DisplayName: name}, Etag: etag,
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	return err
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return err.Error()
}
