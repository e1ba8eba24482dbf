package server_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

// stateWatch is the client's side of WatchCredentialStates.
type stateWatch struct {
	managing
	stream grpc.ServerStreamingClient[authmaterialv1.WatchCredentialStatesResponse]
	states map[string]authmaterialv1.CredentialState // the states of the credentials, as the stream has sent them so far
}

func (m managing) watchStates(caller, filter string, ids ...string) *stateWatch {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.as(caller), time.Minute)
	m.Cleanup(cancel)
	stream, err := m.credentials.WatchCredentialStates(ctx, &authmaterialv1.WatchCredentialStatesRequest{Filter: filter, CredentialIds: ids})
	if err != nil {
		m.Fatal(err)
	}
	w := &stateWatch{m, stream, map[string]authmaterialv1.CredentialState{}}
	for complete := false; !complete; {
		complete = w.receive().GetComplete()
	}
	return w
}

func (w *stateWatch) receive() *authmaterialv1.WatchCredentialStatesResponse {
	w.Helper()
	message, err := w.stream.Recv()
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range message.GetCredentials() {
		w.states[c.GetCredentialId()] = c.GetState()
	}
	for _, id := range message.GetRemoved() {
		if _, known := w.states[id]; !known {
			w.Errorf("the stream removes %s, which it has never sent", id)
		}
		delete(w.states, id)
	}
	return message
}

// want receives messages until the credentials have the given states.
func (w *stateWatch) want(states string) {
	w.Helper()
	for w.shown() != states {
		w.receive()
	}
}

func (w *stateWatch) shown() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(w.states)) {
		all = append(all, id+" "+strings.TrimPrefix(w.states[id].String(), "CREDENTIAL_STATE_"))
	}
	return strings.Join(all, ", ")
}

func TestWatchOfStates(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	all, some := m.watchStates("viewer", ""), m.watchStates("viewer", `provider = "pendo"`)
	const unused = "key-of-board NOT_YET_USED, token-of-mail NOT_YET_USED"
	if all.shown() != unused || some.shown() != "key-of-board NOT_YET_USED" {
		t.Errorf("at first, the watches send %q and %q", all.shown(), some.shown())
	}
	a := accounts(m.sim)["sendpulse pair"]
	created := m.createAccount("pair", a)
	all.want("key-of-board NOT_YET_USED, pair NOT_YET_USED, token-of-mail NOT_YET_USED")
	m.mustMaterial("web", "pair")
	all.want("key-of-board NOT_YET_USED, pair READY, token-of-mail NOT_YET_USED")
	m.mustMaterial("web", there)
	all.want("key-of-board READY, pair READY, token-of-mail NOT_YET_USED")
	some.want("key-of-board READY")

	m.sim.SendPulse.RemoveClient(a.values["client_id"])
	decoration, err := m.client().GetAuthDecoration(m.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "pair"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.client().ReportRejection(m.as("web"), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "pair", Version: decoration.GetAuthDecoration().GetVersion(), HttpStatus: 401,
	})
	if err == nil {
		t.Error("the provider issues a token for a removed client")
	}
	all.want("key-of-board READY, pair RENEWAL_FAILING, token-of-mail NOT_YET_USED")

	changed, err := m.credentials.UpdateCredential(m.as("admin"), &authmaterialv1.UpdateCredentialRequest{
		Credential: &authmaterialv1.Credential{CredentialId: "pair", Disabled: true}, Etag: created.GetEtag(),
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	all.want("key-of-board READY, pair DISABLED, token-of-mail NOT_YET_USED")
	if _, err := m.credentials.DeleteCredential(m.as("admin"), &authmaterialv1.DeleteCredentialRequest{CredentialId: "pair", Etag: changed.GetCredential().GetEtag()}); err != nil {
		t.Fatal(err)
	}
	all.want("key-of-board READY, token-of-mail NOT_YET_USED")
}

// TestStateOfSharedToken checks that a watch shows a credential whose token the broker has requested
// already, for a credential with the same values, and that its state is not older than itself.
func TestStateOfSharedToken(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	a := accounts(m.sim)["sendpulse pair"]
	m.createAccount("one", a)
	m.sim.SendPulse.RemoveClient(a.values["client_id"])
	if _, err := m.material("web", "one"); err == nil {
		t.Fatal("the provider issues a token for a removed client")
	}
	twin := m.createAccount("twin", a)
	w := m.watchStates("viewer", "", "twin")
	_, _ = m.material("web", "twin")
	w.want("twin REFUSED")
	found, err := m.credentials.GetCredential(m.as("viewer"), &authmaterialv1.GetCredentialRequest{CredentialId: "twin"})
	if err != nil {
		t.Fatal(err)
	}
	if since := found.GetCredential().GetStateTime().AsTime(); since.Before(twin.GetCreateTime().AsTime()) {
		t.Errorf("the state is of %v, before the credential was created", since)
	}
}

// TestWatchOfNamedStates checks that a watch with IDs contains nothing about other credentials, also
// after a reload.
func TestWatchOfNamedStates(t *testing.T) {
	store, key := sqliteStore(t), fleetkeys.Generate()
	text := grantingText([]string{"admin", "viewer", "web"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage]}
  - {callers: ["token:viewer"], credentials: ["key-*", "token-*", "missing"], actions: [view]}
  - {callers: ["token:web"], credentials: ["*"]}
`, store)
	m := serveStored(t, text, key)
	m.createAccount("hidden", accounts(m.sim)["pendo"])
	w := m.watchStates("viewer", "", there, "missing", "hidden", there, "no ID")
	if w.shown() != there+" NOT_YET_USED" {
		t.Errorf("at first, the watch sends %q", w.shown())
	}
	_, _ = m.material("web", "token-of-mail") // its state changes, because the provider refuses it
	m.mustMaterial("web", "hidden")
	created := m.createAccount("missing", accounts(m.sim)["pendo"])
	m.mustMaterial("web", there)
	w.want(there + " READY, missing NOT_YET_USED")
	if err := m.server.Reload(func() (*config.Config, error) { return parseStored(t, text, key), nil }); err != nil {
		t.Fatal(err)
	}
	m.mustMaterial("web", "missing")
	w.want(there + " READY, missing READY")
	_, err := m.credentials.DeleteCredential(m.as("admin"), &authmaterialv1.DeleteCredentialRequest{CredentialId: "missing", Etag: created.GetEtag()})
	if err != nil {
		t.Fatal(err)
	}
	w.want(there + " READY")
}

func TestWatchOfStatesShowsOnlyWhatTheCallerMayView(t *testing.T) {
	grants := `
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage]}
  - {callers: ["token:viewer"], credentials: ["shown-*", "key-*"], actions: [view]}
`
	store, key, callers := sqliteStore(t), fleetkeys.Generate(), []string{"admin", "viewer", "web"}
	m := serveStored(t, grantingText(callers, grants, store), key)
	reload := func(callers []string, grants string) {
		if err := m.server.Reload(func() (*config.Config, error) { return parseStored(t, grantingText(callers, grants, store), key), nil }); err != nil {
			t.Fatal(err)
		}
	}
	viewer, none := m.watchStates("viewer", ""), m.watchStates("web", "")
	for _, id := range []string{"hidden-1", "shown-1"} {
		m.createAccount(id, accounts(m.sim)["pendo"])
	}
	viewer.want("key-of-board NOT_YET_USED, shown-1 NOT_YET_USED")
	if none.shown() != "" {
		t.Errorf("a caller without a grant sees %q", none.shown())
	}

	// A reload takes one grant away.
	reload(callers, strings.Replace(grants, `"shown-*", `, "", 1))
	viewer.want("key-of-board NOT_YET_USED")
	m.createAccount("shown-2", accounts(m.sim)["pendo"])
	reload(callers, grants)
	viewer.want("key-of-board NOT_YET_USED, shown-1 NOT_YET_USED, shown-2 NOT_YET_USED")

	// A reload takes the viewer's token away.
	reload([]string{"admin"}, grants)
	for {
		if _, err := viewer.stream.Recv(); err != nil {
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("the watch ends with %v", err)
			}
			return
		}
	}
}

func TestWatchOfStatesEnds(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	w := m.watchStates("viewer", "")
	m.stop(m.Context())
	if _, err := w.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("when the server stops, the watch ends with %v", err)
	}
	m = serveManaging(t, sqliteStore(t))
	stream, err := m.credentials.WatchCredentialStates(m.as("viewer"), &authmaterialv1.WatchCredentialStatesRequest{Filter: "x"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("the error for a wrong filter is %v", err)
	}
	stream, err = m.credentials.WatchCredentialStates(m.as("viewer"), &authmaterialv1.WatchCredentialStatesRequest{CredentialIds: make([]string, 1001)})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(fmt.Sprint(err), "credential_ids must have at most 1000 IDs") {
		t.Errorf("the error for 1001 IDs is %v", err)
	}
}

// TestWatchOfManyStates checks that all credentials arrive, although one message cannot contain them.
func TestWatchOfManyStates(t *testing.T) {
	text := configuration
	for i := range 1200 {
		text += fmt.Sprintf("  - {id: many-%04d, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}\n", i)
	}
	m := serveStored(t, strings.Replace(grantingText([]string{"viewer", "web"}, `
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web"], credentials: ["*"]}
`, sqliteStore(t)), configuration, text, 1), fleetkeys.Generate())
	w := m.watchStates("viewer", "")
	if len(w.states) != 1202 {
		t.Errorf("%d credentials were sent, want 1202", len(w.states))
	}
	for i := range 1200 {
		m.mustMaterial("web", fmt.Sprintf("many-%04d", i))
	}
	for {
		ready := 0
		for _, state := range w.states {
			if state == authmaterialv1.CredentialState_CREDENTIAL_STATE_READY {
				ready++
			}
		}
		if ready == 1200 {
			return
		}
		w.receive()
	}
}

// TestStateWatchIsCountedOnce checks that a watch is one call in the metrics.
func TestStateWatchIsCountedOnce(t *testing.T) {
	m := serveSQLite(t)
	m.watchStates("admin", "")
	const started = `grpc_server_started_total{grpc_method="WatchCredentialStates",grpc_service="authmaterial.v1.CredentialService",grpc_type="server_stream"} `
	if _, _, metrics := m.fetch("/metrics"); !strings.Contains(metrics, started+"1\n") {
		_, after, _ := strings.Cut(metrics, started)
		t.Errorf("the metric counts %.1s calls for one watch, want 1", after)
	}
}
