package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// consoleText is the configuration of a server with a console. The parameter `more` is added to it.
func consoleText(store, more string) string {
	return grantingText([]string{"admin", "viewer", "web"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [use, manage, operate]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web"], credentials: ["*"]}
`, store) + "console: {address: 127.0.0.1:8081}\n" + more
}

// visitor is a person who has signed in to the console with a static token.
type visitor struct {
	*testing.T
	client *http.Client
}

func (m managing) visit(caller string) visitor {
	m.Helper()
	listener, served := listenTCP(m.T), make(chan error, 1)
	go func() { served <- m.server.ServeConsole(listener) }()
	m.Cleanup(func() {
		m.server.Stop(context.Background())
		if err := <-served; err != nil {
			m.Errorf("the console ended with %v", err)
		}
	})
	return signIn(m.T, caller, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	})
}

// signIn signs in to the console to which the function `dial` connects.
func signIn(t *testing.T, caller string, dial func(context.Context) (net.Conn, error)) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor{t, &http.Client{Jar: jar, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
	t.Cleanup(v.client.CloseIdleConnections)
	if code, page := v.send("/sign-in", url.Values{"token": {tokenOf(caller)}}); code != http.StatusOK || !strings.Contains(page, "token:"+caller) {
		t.Fatalf("the sign-in is answered %d %s", code, page)
	}
	return v
}

// consoleAddress is the address of the console in the configuration. The listeners have others.
const consoleAddress = "http://127.0.0.1:8081"

// send sends a form, or requests a page if the form is nil. It returns the answer after redirects.
func (v visitor) send(path string, form url.Values) (code int, page string) {
	v.Helper()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(v.Context(), method, consoleAddress+path, body)
	if err != nil {
		v.Error(err)
		return 0, ""
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.client.Do(request)
	if err != nil {
		v.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.Error(err)
	}
	return response.StatusCode, string(text)
}

// openPage is an open page of the console, with its stream of states.
type openPage struct {
	visitor
	events *bufio.Scanner
}

// open opens the stream of states of a page with these credentials.
func (v visitor) open(ids ...string) openPage {
	v.Helper()
	response := v.stream(ids...) //nolint:bodyclose // a cleanup function closes it
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		v.Fatalf("the stream of states is answered %s", response.Status)
	}
	return openPage{v, bufio.NewScanner(response.Body)}
}

func (v visitor) stream(ids ...string) *http.Response {
	v.Helper()
	request, err := http.NewRequestWithContext(v.Context(), http.MethodGet, consoleAddress+"/states?"+url.Values{"id": ids}.Encode(), http.NoBody)
	if err != nil {
		v.Fatal(err)
	}
	response, err := v.client.Do(request)
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// want receives events until the state of a credential is shown with this word.
func (p openPage) want(id, word string) {
	p.Helper()
	for p.events.Scan() {
		var event struct{ ID, Word string }
		data, found := strings.CutPrefix(p.events.Text(), "data: ")
		if found && json.Unmarshal([]byte(data), &event) == nil && event.ID == id && event.Word == word {
			return
		}
	}
	p.Fatalf("the stream ended before the state of %s was %q: %v", id, word, p.events.Err())
}

// setDisabled disables or enables a credential.
func (m managing) setDisabled(id string, disabled bool) {
	m.Helper()
	found, err := m.credentials.GetCredential(m.as("admin"), &authmaterialv1.GetCredentialRequest{CredentialId: id})
	if err == nil {
		changed := found.GetCredential()
		changed.Disabled = disabled
		_, err = m.credentials.UpdateCredential(m.as("admin"), &authmaterialv1.UpdateCredentialRequest{
			Credential: changed, Etag: changed.GetEtag(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
		})
	}
	if err != nil {
		m.Fatal(err)
	}
}

// TestConsoleCallsAreCountedAndLimited checks that the pages use up the limits of their caller, that a
// page at the limit is readable, and that pages which are left are no failed calls.
func TestConsoleCallsAreCountedAndLimited(t *testing.T) {
	m := serveStored(t, consoleText(sqliteStore(t), "limits: {calls_per_second: 1, call_burst: 100, watches_per_caller: 1}\n"), fleetkeys.Generate())
	viewer := m.visit("viewer")
	first := viewer.stream(there)
	if second := viewer.stream(there); second.StatusCode != http.StatusTooManyRequests { //nolint:bodyclose // a cleanup function closes it
		t.Errorf("the second of at most 1 stream of states is answered %s", second.Status)
	}
	if err := first.Body.Close(); err != nil {
		t.Fatal(err)
	}
	code, page := http.StatusOK, ""
	for n := 0; code == http.StatusOK; n++ {
		if code, page = viewer.send("/credentials", nil); n > 200 {
			t.Fatalf("the page is shown %d times, although each time takes at least one of 100 calls", n)
		}
	}
	for _, want := range []string{"<h1", "Too many requests", "The caller has reached its limit of calls per second: wait.", "Signed in as"} {
		if !strings.Contains(page, want) {
			t.Errorf("at the limit, the page is answered %d, and does not contain %q:\n%s", code, want, page)
		}
	}
	if code != http.StatusTooManyRequests {
		t.Errorf("at the limit, the page is answered %d", code)
	}
	if err := m.get(there); err == nil { // the call has no token
		t.Error("a call without a token succeeded")
	}
	m.mustMaterial("web", there) // the limits of other callers are not used up

	// The stream that was left is counted as a call that succeeded.
	const left = `grpc_server_handled_total{grpc_code="OK",grpc_method="WatchCredentialStates",grpc_service="authmaterial.v1.CredentialService",grpc_type="server_stream"} 1`
	for deadline := time.Now().Add(patience); ; {
		_, _, metrics := m.fetch("/metrics")
		if strings.Contains(metrics, left) {
			for _, want := range []string{
				`authmaterial_limited_total{limit="calls_per_second"} `, `authmaterial_limited_total{limit="watches_per_caller"} 1`,
				`grpc_server_handled_total{grpc_code="OK",grpc_method="ListCredentials",grpc_service="authmaterial.v1.CredentialService",grpc_type="unary"} `,
			} {
				if !strings.Contains(metrics, want) {
					t.Errorf("the metrics do not contain %q", want)
				}
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the metrics do not contain %q", left)
		}
	}
	if lines := m.log.lines(t, "call"); slices.ContainsFunc(lines, func(l line) bool { return l["code"] == "Canceled" }) {
		t.Errorf("pages that people left are logged as failed calls: %v", lines)
	}
}

// TestConsoleStops stops a server with open pages, and while a person waits for a verification.
func TestConsoleStops(t *testing.T) {
	m := serveStored(t, consoleText(sqliteStore(t), ""), fleetkeys.Generate())
	m.createAccount("pair", accounts(m.sim)["sendpulse pair"])
	admin := m.visit("admin")
	pages := []openPage{admin.open("pair"), admin.open(there), admin.open("pair", there)}
	pages[0].want("pair", "Not yet used")
	release := m.sim.SendPulse.HoldTokenAnswers()
	answer := make(chan string, 1)
	go func() {
		_, page := admin.send("/credentials/pair/verify", url.Values{})
		answer <- page
	}()
	if err := m.sim.SendPulse.AwaitTokenRequests(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	stopped := m.stop(t.Context())
	for i, page := range pages {
		for page.events.Scan() {
		}
		if err := page.events.Err(); err != nil {
			t.Errorf("the stream %d of an open page ends with %v", i, err)
		}
	}
	if code, page := admin.send("/credentials", nil); code != http.StatusServiceUnavailable || !strings.Contains(page, "The broker is stopping. Try again in a minute.") {
		t.Errorf("while the server stops, a page is answered %d %s", code, page)
	}
	release()
	if page := <-answer; !strings.Contains(page, "Accepted") {
		t.Errorf("the verification during which the server began to stop is answered with %s", page)
	}
	<-stopped
	if lines := m.log.lines(t, "calls have not finished: cancelling their token requests"); len(lines) > 0 {
		t.Error("the open pages keep the server from stopping")
	}
}

// pipes is a listener in memory. Unlike those of bufconn, its connections end a deadline at once when
// it is changed, which net/http needs.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case accepted := <-p.accepted:
		return accepted, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error { close(p.closed); return nil }

func (p pipes) Addr() net.Addr { return new(net.TCPAddr) }

func (p pipes) dial(context.Context) (net.Conn, error) {
	client, accepted := net.Pipe()
	select {
	case p.accepted <- accepted:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// TestConsoleInTime checks in simulated time that a stream without events is open for longer than any
// other answer may take, and that Stop waits for a form.
func TestConsoleInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := simulator.New(simulator.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		b := &scene{T: t, sim: sim, log: new(journal), http: bufconn.Listen(1 << 20)}
		b.server, err = server.New(server.Options{
			Config: parseStored(t, consoleText(sqliteStore(t), ""), fleetkeys.Generate()), Logger: slog.New(slog.NewJSONHandler(b.log, nil)),
			TokenTransport: sim.RoundTripper(), Clock: clockwork.NewRealClock(), // this clock shows the simulated time
		})
		if err != nil {
			t.Fatal(err)
		}
		stop, pages := b.serve(), pipes{make(chan net.Conn), make(chan struct{})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = b.server.ServeConsole(pages) })
		defer func() { stop(); serving.Wait(); _ = sim.Close() }()
		admin := signIn(t, "admin", pages.dial)
		client := sim.SendPulse.Client()
		created := url.Values{"display_name": {"pair"}, "values.client_id": {client.ID}, "values.client_secret": {client.Secret}}
		if code, page := admin.send("/add/sendpulse/oauth2_client_credentials", created); code != http.StatusOK {
			t.Fatalf("the form is answered %d %s", code, page)
		}
		open := admin.open("pair", there)
		open.want("pair", "Not yet used")
		b.pass(5 * time.Minute)
		if _, err := b.client.GetAuthDecoration(managing{harness: harness{T: t}}.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: there}); err != nil {
			t.Fatal(err)
		}
		open.want(there, "Ready")

		const held = 9 * time.Second
		time.AfterFunc(held, sim.SendPulse.HoldTokenAnswers())
		answer := make(chan string, 1)
		go func() { _, page := admin.send("/credentials/pair/verify", url.Values{}); answer <- page }()
		if err := sim.SendPulse.AwaitTokenRequests(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		b.server.Stop(t.Context())
		// Connections without a request may take another second.
		if took := time.Since(began); took < held || took > held+time.Second {
			t.Errorf("Stop took %v, want %v to %v", took, held, held+time.Second)
		}
		if page := <-answer; !strings.Contains(page, "Accepted") {
			t.Errorf("the form that was sent before the stop is answered with %s", page)
		}
	})
}

// TestConsoleStaysOpenDuringAReload checks that the stream of an open page continues after a reload.
func TestConsoleStaysOpenDuringAReload(t *testing.T) {
	store, key := sqliteStore(t), fleetkeys.Generate()
	m := serveStored(t, consoleText(store, ""), key)
	m.createAccount("board", accounts(m.sim)["pendo"])
	viewer := m.visit("viewer")
	page := viewer.open("board", "later")
	page.want("board", "Not yet used")
	later := strings.Replace(consoleText(store, ""), "credentials:\n", "credentials:\n  - {id: later, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}\n", 1)
	if err := m.server.Reload(func() (*config.Config, error) { return parseStored(t, later, key), nil }); err != nil {
		t.Fatal(err)
	}
	page.want("later", "Not yet used")
	m.setDisabled("board", true)
	page.want("board", "Disabled")
	if code, _ := viewer.send("/credentials/later", nil); code != http.StatusOK {
		t.Errorf("the page of a credential that was declared later is answered %d", code)
	}
}

// TestConsolesOfAFleet checks that an open page of one replica shows a change at another replica within
// a second.
func TestConsolesOfAFleet(t *testing.T) {
	postgres := postgrestest.Start(t)
	store, key := "  url: "+postgres.Database(t)+"\n  user: {env: POSTGRES_USER}\n  password: {env: POSTGRES_PASSWORD}\n", fleetkeys.Generate()
	var replicas []managing
	for range 3 {
		replicas = append(replicas, serveStored(t, consoleText(store, ""), key))
	}
	replicas[0].createAccount("board", accounts(replicas[0].sim)["pendo"])
	var pages []openPage
	for _, replica := range replicas {
		pages = append(pages, replica.visit("viewer").open("board"))
	}
	for _, page := range pages {
		page.want("board", "Not yet used")
	}
	var times []time.Duration
	for n := range 6 {
		disabled, word := n%2 == 0, map[bool]string{true: "Disabled", false: "Not yet used"}[n%2 == 0]
		began := time.Now()
		replicas[n%3].setDisabled("board", disabled)
		for _, page := range pages {
			page.want("board", word)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	t.Logf("changes were shown by all replicas after %v", times)
	if median := times[len(times)/2]; median > time.Second {
		t.Errorf("a change at one replica is shown at the others after %v (median), want at most 1 s", median)
	}
}
