package leaktest_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// verifiable is a provider without tokens whose credentials can be verified.
func (w *world) verifiable() string {
	host := strings.TrimPrefix(w.provider.URL, "https://")
	return `
  - id: verifiable
    display_name: Verifiable
    allowed_hosts: ["` + host + `"]
    auth_methods:
      - id: main
        display_name: Main
        fields: [{id: key, display_name: Key, required: true, secret: true}, {id: login, display_name: Login, required: true, secret: false}]
        headers: [{name: Authorization, value: "Basic ${base64(login + ':' + key)}"}, {name: X-Key, value: "${key}"}, {name: X-Login, value: "${login}"}]
        verification: {url: "` + w.provider.URL + `/verify", answers: [{statuses: [200], json: {expires_in: 3600}, outcome: ACCEPTED}, {statuses: [401], outcome: REFUSED}]}
`
}

// overStore returns the configuration of a broker with a credential store and no declared
// credentials.
func (w *world) overStore(store string) string {
	common := w.common("listen: {grpc: \"unix://" + w.path("grpc") + "\", http: \"unix://" + w.path("http") + "\"}\naudit: {file: audit-store.log}\n")
	return strings.Replace(common, "providers:", "providers:"+w.verifiable(), 1) + "store:\n  keys: [{file: store.key}]\n" + store
}

// TestNothingLeaksFromTheStore manages credentials with both databases, by valid and invalid
// requests, and searches all output, the databases and a backup for the secrets of the credentials.
func TestNothingLeaksFromTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.collectSpans()
	key := w.know("the store key", fleetkeys.Generate())
	w.write("store.key", key)
	w.write("postgres.password", w.know("the password of PostgreSQL", postgrestest.Password))
	w.write("postgres.user", postgrestest.User)
	server := postgrestest.Start(t)
	address := server.Database(t)
	for name, database := range map[string]struct {
		text  string
		open  func() (store.Driver, error)
		where func(when string)
	}{
		"SQLite": {"  url: sqlite://" + w.path("broker.db") + "\n", func() (store.Driver, error) { return sqlite.Open(w.path("broker.db")) }, func(when string) {
			for _, file := range []string{"broker.db", "broker.db-wal", "broker.db-shm"} {
				if when == "while serving" || file == "broker.db" {
					w.collectFile("SQLite: "+file, w.path(file))
				}
			}
		}},
		"PostgreSQL": {"  url: " + address + "\n  user: {file: postgres.user}\n  password: {file: postgres.password}\n", func() (store.Driver, error) {
			return postgres.Open(address, secret.New(postgrestest.User), secret.New(postgrestest.Password))
		}, func(string) { w.collect("PostgreSQL: dump", server.Dump(t, address)) }},
	} {
		w.configs = map[string]string{"store.yaml": w.overStore(database.text)}
		p := w.serve(name, "store.yaml", "json")
		p.await(1, `"msg":"serving"`)
		c := w.dial(p.name, "unix://"+w.path("grpc"), insecure.NewCredentials())
		manages(w, c)
		commands(w)
		overHTTP(w, name)
		database.where("while serving")
		w.collect(name+": backup", backup(w, key, database.open))
		p.end(syscall.SIGQUIT)
		database.where("afterwards")
		w.collectFile(name+": audit file", w.path("audit-store.log"))
	}
	for _, found := range w.search() {
		t.Error(found)
	}
	w.wantStoreSearched()
}

// wantStoreSearched checks that each part of the collected output contains a text that it must
// contain.
func (w *world) wantStoreSearched() {
	w.Helper()
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		for where, text := range map[string]string{
			": log": "token issued", ": audit file": "create_version", ": errors": "INVALID_REQUEST", ": answers": "verifiable-refused", ": backup": "authmaterial-backup",
			": /metrics": "authmaterial_store_up 1", ": /readyz": "ok", ": answers over HTTP": "INVALID_REQUEST",
		} {
			if !w.contains(name+where, text) {
				w.Errorf("the collected output %s%s must contain %q", name, where, text)
			}
		}
	}
	for where, text := range map[string]string{
		"SQLite: broker.db": "verifiable-refused", "PostgreSQL: dump": "verifiable-refused", "broker credentials": "verifiable-refused", "traces": "CredentialService",
	} {
		if !w.contains(where, text) {
			w.Errorf("the collected output %s must contain %q", where, text)
		}
	}
}

func backup(w *world, key string, open func() (store.Driver, error)) []byte {
	w.Helper()
	driver, err := open()
	if err != nil {
		w.Fatal(err)
	}
	defer driver.Close() //nolint:errcheck // an error of Close loses no data, because the test only reads
	parsed, err := fleetkeys.Parse(secret.New(key))
	if err != nil {
		w.Fatal(err)
	}
	ring, err := fleetkeys.NewRing(parsed)
	if err != nil {
		w.Fatal(err)
	}
	opened, err := store.Open(w.Context(), driver, store.Options{Keys: ring})
	if err != nil {
		w.Fatal(err)
	}
	var text bytes.Buffer
	if err := opened.Backup(w.Context(), &text); err != nil {
		w.Fatal(err)
	}
	return text.Bytes()
}

// manage makes a call of CredentialService, and collects its answer.
func manage[Request, Response proto.Message](c caller, method func(authmaterialv1.CredentialServiceClient, caller, Request) (Response, error), request Request) (Response, error) {
	answer, err := method(c.manager, c, request)
	c.collect(err)
	wire, _ := proto.Marshal(answer)
	c.w.collect(c.broker+": answers", append(wire, protojson.Format(answer)...))
	return answer, err
}

func create(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.CreateCredentialRequest) (*authmaterialv1.CreateCredentialResponse, error) {
	ctx, cancel := c.context()
	defer cancel()
	return m.CreateCredential(ctx, r)
}

func addVersion(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.CreateCredentialVersionRequest) (*authmaterialv1.CreateCredentialVersionResponse, error) {
	return m.CreateCredentialVersion(c.w.Context(), r)
}

func verify(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.VerifyCredentialRequest) (*authmaterialv1.VerifyCredentialResponse, error) {
	return m.VerifyCredential(c.w.Context(), r)
}

func values(fields ...string) (all []*authmaterialv1.FieldValue) {
	for n := 0; n < len(fields); n += 2 {
		all = append(all, &authmaterialv1.FieldValue{Field: fields[n], Value: fields[n+1]})
	}
	return all
}

func creating(id, provider string, fields ...string) *authmaterialv1.CreateCredentialRequest {
	return &authmaterialv1.CreateCredentialRequest{
		CredentialId: id, RequestId: id, Values: values(fields...),
		Credential: &authmaterialv1.Credential{DisplayName: id, Provider: provider, AuthMethod: "main"},
	}
}

// `manages` calls methods of CredentialService with secrets, for a provider that gives all kinds of
// wrong answers.
func manages(w *world, c caller) {
	w.Helper()
	var ids []string
	var calls sync.WaitGroup
	for _, name := range append(misbehaving(), "good") {
		id := "verifiable-" + name
		ids = append(ids, id)
		calls.Go(func() {
			if _, err := manage(c, create, creating(id, "verifiable", "login", name+"/login", "key", w.canary("the key of "+id))); err != nil {
				w.Errorf("create %s: %v", id, err)
			}
			answer, err := manage(c, verify, &authmaterialv1.VerifyCredentialRequest{CredentialId: id})
			accepted := answer.GetVerification().GetOutcome() == authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED
			if err != nil || name == "good" && !accepted {
				w.Errorf("the verification of %s has the outcome %v and the error %v", id, answer.GetVerification().GetOutcome(), err)
			}
			_ = c.get(id)
			client := strings.Replace(id, "verifiable", "json", 1)
			_, _ = manage(c, create, creating(client, "json", "client_id", name+"/json", "client_secret", w.canary("the client secret of "+client), "audience", w.canary("the audience of "+client)))
			_ = c.get(client)
		})
	}
	calls.Wait()
	badRequests(w, c)
	rotates(w, c, "verifiable-good")
	rotates(w, c, "verifiable-refused")
	c.batch(ids)
	c.report("verifiable-good", w.canary("a version"))
}

func badRequests(w *world, c caller) {
	w.Helper()
	for n, fields := range [][]string{
		{"login", "x", "key", w.canary("a key with a line break") + "\n"}, {"login", "x", "key", w.canary("a key that is not ASCII") + "é"},
		{"login", "x", "key", w.canary("a key that is set twice"), "key", w.canary("a key that is set twice again")}, {"key", w.canary("a key without its login")},
		{"login", "x", "key", w.canary("a key of the wrong method"), "client_secret", w.canary("a secret that the method does not have")},
		{"login", "x", "key", strings.Repeat(w.canary("a large key"), 2000)}, {"login", "x\x00", "key", w.canary("a key with a wrong login")},
	} {
		if _, err := manage(c, create, creating(fmt.Sprint("bad-", n), "verifiable", fields...)); err == nil {
			w.Errorf("the invalid request %d was accepted", n)
		}
	}
	again := creating("verifiable-good", "verifiable", "login", "x", "key", w.canary("a key of another request"))
	if _, err := manage(c, create, again); err == nil {
		w.Error("a request with the same request ID and other content was accepted")
	}
	again.RequestId = ""
	if _, err := manage(c, create, again); err == nil {
		w.Error("a credential was created twice")
	}
	for n := range 7 { // enough verifications to reach their limit
		_, _ = manage(c, verify, &authmaterialv1.VerifyCredentialRequest{
			CredentialId: "unsaved", Provider: "verifiable", AuthMethod: "main",
			Values: values("login", misbehaving()[n]+"/x", "key", w.canary("a key that is not stored")),
		})
	}
}

func rotates(w *world, c caller, id string) {
	w.Helper()
	for _, activate := range []bool{false, true} {
		if _, err := manage(c, addVersion, &authmaterialv1.CreateCredentialVersionRequest{
			CredentialId: id, Reset_: true, Activate: activate, AcceptInconclusive: true, Verify: true,
			Values: values("login", "good/x", "key", w.canary("the next key of "+id)),
		}); err != nil {
			w.Errorf("rotate %s: %v", id, err)
		}
		_ = c.get(id)
	}
	get := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.GetCredentialRequest) (*authmaterialv1.GetCredentialResponse, error) {
		return m.GetCredential(c.w.Context(), r)
	}
	found, err := manage(c, get, &authmaterialv1.GetCredentialRequest{CredentialId: id})
	if err != nil || found.GetCredential().GetActiveVersion() != 3 {
		w.Errorf("after two rotations of %s, the active version is %d: %v", id, found.GetCredential().GetActiveVersion(), err)
	}
	destroy := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.DestroyCredentialVersionRequest) (*authmaterialv1.DestroyCredentialVersionResponse, error) {
		return m.DestroyCredentialVersion(c.w.Context(), r)
	}
	destroyed, err := manage(c, destroy, &authmaterialv1.DestroyCredentialVersionRequest{CredentialId: id, Version: 1, Etag: found.GetCredential().GetEtag()})
	if err != nil {
		w.Errorf("destroying a version of %s failed: %v", id, err)
	}
	update := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.UpdateCredentialRequest) (*authmaterialv1.UpdateCredentialResponse, error) {
		return m.UpdateCredential(c.w.Context(), r)
	}
	if _, err := manage(c, update, &authmaterialv1.UpdateCredentialRequest{
		Credential: &authmaterialv1.Credential{CredentialId: id, Disabled: true}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
		Etag: destroyed.GetCredential().GetEtag(),
	}); err != nil {
		w.Errorf("disable %s: %v", id, err)
	}
	lists(c, id)
}

func lists(c caller, id string) {
	versions := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.ListCredentialVersionsRequest) (*authmaterialv1.ListCredentialVersionsResponse, error) {
		return m.ListCredentialVersions(c.w.Context(), r)
	}
	_, _ = manage(c, versions, &authmaterialv1.ListCredentialVersionsRequest{CredentialId: id})
	events := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.ListCredentialEventsRequest) (*authmaterialv1.ListCredentialEventsResponse, error) {
		return m.ListCredentialEvents(c.w.Context(), r)
	}
	_, _ = manage(c, events, &authmaterialv1.ListCredentialEventsRequest{CredentialId: id})
	list := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.ListCredentialsRequest) (*authmaterialv1.ListCredentialsResponse, error) {
		return m.ListCredentials(c.w.Context(), r)
	}
	_, _ = manage(c, list, &authmaterialv1.ListCredentialsRequest{})
	status := func(m authmaterialv1.CredentialServiceClient, c caller, r *authmaterialv1.GetCredentialStatusRequest) (*authmaterialv1.GetCredentialStatusResponse, error) {
		return m.GetCredentialStatus(c.w.Context(), r)
	}
	_, _ = manage(c, status, &authmaterialv1.GetCredentialStatusRequest{CredentialId: id})
}

func commands(w *world) {
	w.Helper()
	w.setenv("BROKER_ADDRESS", "unix://"+w.path("grpc"))
	w.write("good", w.canary("a key in a file"))
	w.write("bad", w.canary("a key in a file, with a line break")+"\n\nx")
	id := "of-a-command"
	for _, run := range []struct {
		code int
		args []string
	}{
		{0, []string{"create", id, "--provider", "verifiable", "--name", "n", "--value", "login=good/x", "--secret-file", "key=good", "--verify"}},
		{1, []string{"create", id + "-2", "--provider", "verifiable", "--name", "n", "--value", "login=refused/x", "--secret-file", "key=good", "--verify"}},
		{1, []string{"create", id + "-3", "--provider", "verifiable", "--name", "n", "--value", "login=good/x", "--secret-file", "key=bad"}},
		{0, []string{"verify", id}},
		{1, []string{"verify", "verifiable-echo", "-o", "json"}},
		{0, []string{"rotate", id, "--secret-file", "key=good", "--verify"}},
		{1, []string{"rotate", id, "--value", "login=refused/x", "--secret-file", "key=good", "--verify"}},
		{0, []string{"show", id}}, {0, []string{"show", id, "-o", "yaml"}}, {0, []string{"list"}}, {0, []string{"list", "-o", "json"}},
		{0, []string{"versions", id, "-o", "json"}}, {0, []string{"delete", id, "--yes"}},
	} {
		if out, code := w.run("broker credentials", append([]string{"credentials"}, run.args...)...); code != run.code {
			w.Errorf("broker credentials %v ended with exit status %d, want %d:\n%s", run.args, code, run.code, out)
		}
	}
	for _, flag := range []string{"--value", "--secret-stdin"} { // flags that must not get a secret
		if out, code := w.run("broker credentials", "credentials", "rotate", "verifiable-good", flag, "key="+w.canary("a key as "+flag)); code == 0 {
			w.Errorf("the flag %s accepted a secret:\n%s", flag, out)
		}
	}
}
