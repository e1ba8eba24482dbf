package fleettest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	crashWriters = 8
	// versionsEach is the number of versions that a writer gives each of its credentials.
	versionsEach = 18
)

// A writer changes one credential after another: each change adds a version and activates it. The
// values of a version contain its number.
type writer struct {
	broker *fleettest.Broker
	name   string
	acked  map[string]int // the last acknowledged version by credential ID
	latest string         // the ID of the credential that is being changed
}

// write makes changes until a call fails, and adds the number of acknowledged changes to `count`.
func (w *writer) write(count func()) {
	for n := 0; ; n++ {
		w.latest = fmt.Sprintf("%s-%d", w.name, n/versionsEach)
		if w.next() != nil {
			return
		}
		w.acked[w.latest]++
		count()
	}
}

// `next` makes the change after the last acknowledged one.
func (w *writer) next() error {
	id, number := w.latest, w.acked[w.latest]+1
	ctx, cancel := context.WithTimeout(context.Background(), fleettest.Patience)
	defer cancel()
	values := []*authmaterialv1.FieldValue{{Field: "number", Value: fmt.Sprint(number)}, {Field: "key", Value: keyOf(id, number)}}
	request := fmt.Sprintf("%s-%d", id, number)
	if number == 1 {
		_, err := w.broker.Manager(0).CreateCredential(ctx, &authmaterialv1.CreateCredentialRequest{
			CredentialId: id, Values: values, RequestId: request,
			Credential: &authmaterialv1.Credential{DisplayName: id, Provider: "static", AuthMethod: "key"},
		})
		return err
	}
	_, err := w.broker.Manager(0).CreateCredentialVersion(ctx, &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: id, Reset_: true, Values: values, Activate: true, RequestId: request,
	})
	return err
}

func keyOf(id string, number int) string { return fmt.Sprintf("key %d of %s", number, id) }

// staticProvider is a provider whose credentials need no token.
func staticProvider() map[string]any {
	field := func(id string, secret bool) map[string]any {
		return map[string]any{"id": id, "display_name": id, "required": true, "secret": secret}
	}
	return map[string]any{
		"id": "static", "display_name": "Static", "allowed_hosts": []any{"api.example.test"},
		"auth_methods": []any{map[string]any{
			"id": "key", "display_name": "Key", "fields": []any{field("number", false), field("key", true)},
			"headers": []any{map[string]any{"name": "X-Number", "value": "${number}"}, map[string]any{"name": "X-Key", "value": "${key}"}},
		}},
	}
}

// A broker is killed while callers change credentials. After a restart, every acknowledged change
// exists, and every change is complete. A request whose answer was lost can be repeated.
func TestStoreSurvivesAKilledBroker(t *testing.T) {
	t.Parallel()
	postgres := postgrestest.Start(t)
	for name, store := range map[string]func(*testing.T) map[string]any{
		"PostgreSQL": func(t *testing.T) map[string]any { return postgresStore(t, postgres) },
		"SQLite": func(t *testing.T) map[string]any {
			return map[string]any{"url": "sqlite://" + filepath.Join(t.TempDir(), "broker.db"), "keys": []any{file(t, fleetkeys.Generate())}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			settings := store(t)
			fleet := fleettest.Start(t, fleettest.Options{
				Redis: oneRedis(redistest.Start(t)), Brokers: 1, Credentials: 1,
				Change: func(_ int, configuration map[string]any) {
					configuration["store"] = settings
					configuration["providers"] = append(configuration["providers"].([]any), staticProvider())
				},
			})
			for round := range stress(2, 10) {
				killedWhileWriting(t, fleet, round)
			}
		})
	}
}

func killedWhileWriting(t *testing.T, fleet *fleettest.Fleet, round int) {
	t.Helper()
	b := fleet.Brokers[0]
	after := int64(1 + rand.IntN(stress(100, 1000)))
	var acknowledged atomic.Int64
	var writing sync.WaitGroup
	var all []*writer
	kill := make(chan struct{})
	for n := range crashWriters {
		w := &writer{broker: b, name: fmt.Sprintf("round-%d-writer-%d", round, n), acked: map[string]int{}}
		all = append(all, w)
		writing.Go(func() {
			w.write(func() {
				if acknowledged.Add(1) == after {
					close(kill)
				}
			})
		})
	}
	<-kill
	b.Kill()
	writing.Wait()
	b.Start()
	stored := 0
	for _, w := range all {
		for id, acked := range w.acked {
			stored += w.wantComplete(t, fleet, id, acked, acked+1)
		}
		if _, begun := w.acked[w.latest]; !begun {
			stored += w.wantComplete(t, fleet, w.latest, 0, 1)
		}
		if err := w.next(); err != nil {
			t.Errorf("the request of %s whose answer was lost cannot be repeated: %v", w.latest, err)
		}
		w.wantComplete(t, fleet, w.latest, w.acked[w.latest]+1, w.acked[w.latest]+1)
	}
	t.Logf("the broker was killed after %d acknowledged changes; %d were stored", acknowledged.Load(), stored)
}

// wantComplete checks that a credential has the versions from 1 to a number between `least` and
// `most`, each with its own values, and that the last version is served. wantComplete returns the
// number of versions.
func (w *writer) wantComplete(t *testing.T, fleet *fleettest.Fleet, id string, least, most int) int {
	t.Helper()
	found, err := w.broker.Manager(0).GetCredential(t.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: id})
	if status.Code(err) == codes.NotFound && least == 0 {
		return 0
	}
	active := int(found.GetCredential().GetActiveVersion())
	if err != nil || active < least || active > most {
		t.Fatalf("%s: version %d is active, want %d to %d (%v)", id, active, least, most, err)
	}
	versions, err := w.broker.Manager(0).ListCredentialVersions(t.Context(), &authmaterialv1.ListCredentialVersionsRequest{CredentialId: id})
	if err != nil || len(versions.GetVersions()) != active {
		t.Fatalf("%s: %d versions, want %d (%v)", id, len(versions.GetVersions()), active, err)
	}
	for n, version := range versions.GetVersions() {
		if number := active - n; int(version.GetVersion()) != number || version.GetPublicValues()["number"] != fmt.Sprint(number) {
			t.Errorf("%s: the values of version %d contain the number %s, want %d", id, version.GetVersion(), version.GetPublicValues()["number"], number)
		}
	}
	events, err := w.broker.Manager(0).ListCredentialEvents(t.Context(), &authmaterialv1.ListCredentialEventsRequest{CredentialId: id})
	if err != nil || len(events.GetEvents()) != active {
		t.Errorf("%s: %d events, want %d (%v)", id, len(events.GetEvents()), active, err)
	}
	answer := fleet.Ask(w.broker, 0, fleettest.Credential{ID: id})
	headers := answer.Decoration.GetHeaders()
	if len(headers) != 2 || headers[0].GetValue() != fmt.Sprint(active) || headers[1].GetValue() != keyOf(id, active) {
		t.Errorf("%s: the broker does not serve the material of version %d (%v)", id, active, answer.Err)
	}
	return active
}
