package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/brokertest/simulator"
)

// start returns a running simulator and a client that connects to it and follows no redirects.
func start(t *testing.T, options ...simulator.Option) (*simulator.Simulator, *http.Client) {
	t.Helper()
	sim, err := simulator.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	transport := sim.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return sim, &http.Client{Transport: transport, CheckRedirect: keepRedirect}
}

// startInProcess returns a client that calls the simulator in process, without a network.
func startInProcess(t *testing.T) (*simulator.Simulator, *http.Client) {
	t.Helper()
	sim, _ := start(t, simulator.InProcess())
	return sim, &http.Client{Transport: sim.RoundTripper(), CheckRedirect: keepRedirect}
}

func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// clients returns functions that start a simulator with a client: one client connects over TLS, and
// the other calls the simulator in process. Both clients must get the same answers.
func clients() map[string]func(*testing.T) (*simulator.Simulator, *http.Client) {
	return map[string]func(*testing.T) (*simulator.Simulator, *http.Client){
		"over TLS":   func(t *testing.T) (*simulator.Simulator, *http.Client) { return start(t) },
		"in process": startInProcess,
	}
}

const (
	userInfo     = "https://api.sendpulse.com/user/info"
	sendPulseURL = "https://api.sendpulse.com/oauth/access_token"

	// These are the pattern and the URL of a token endpoint that a test defines.
	examplePattern = "POST api.example.test/oauth/token"
	exampleTokens  = "https://api.example.test/oauth/token"
)

// response is the part of an HTTP response that tests check.
type response struct {
	status int
	proto  string
	header http.Header
	body   string
}

func send(client *http.Client, r *http.Request) (response, error) {
	got, err := client.Do(r.Clone(r.Context()))
	if err != nil {
		return response{}, err
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	return response{got.StatusCode, got.Proto, got.Header, string(body)}, err
}

func do(t *testing.T, client *http.Client, r *http.Request) response {
	t.Helper()
	got, err := send(client, r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func get(address string, header http.Header) *http.Request {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		panic(err)
	}
	if header != nil {
		r.Header = header
	}
	return r
}

func post(address, contentType, body string) *http.Request {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

func postJSON(address string, parameters map[string]any) *http.Request {
	body, err := json.Marshal(parameters)
	if err != nil {
		panic(err)
	}
	return post(address, "application/json", string(body))
}

func postForm(parameters url.Values) *http.Request {
	return post(exampleTokens, "application/x-www-form-urlencoded", parameters.Encode())
}

func header(namesAndValues ...string) http.Header {
	made := make(http.Header)
	for i := 0; i < len(namesAndValues); i += 2 {
		made.Add(namesAndValues[i], namesAndValues[i+1])
	}
	return made
}

func bearer(token string) http.Header { return header("Authorization", "Bearer "+token) }

// tokenRequest returns a token request as SendPulse documents it.
func tokenRequest(client simulator.Client) *http.Request {
	return postJSON(sendPulseURL, map[string]any{
		"grant_type": "client_credentials", "client_id": client.ID, "client_secret": client.Secret,
	})
}

func obtain(t *testing.T, client *http.Client, account simulator.Client) string {
	t.Helper()
	got := do(t, client, tokenRequest(account))
	token, _ := object(t, got)["access_token"].(string)
	if got.status != http.StatusOK || token == "" {
		t.Fatalf("the token request returned no token, and status %d", got.status)
	}
	return token
}

func object(t *testing.T, r response) map[string]any {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(r.body), &decoded); err != nil {
		t.Fatalf("the body is no JSON object: %v", err)
	}
	return decoded
}

func expect(t *testing.T, got response, status int, body map[string]any) {
	t.Helper()
	if got.status != status {
		t.Errorf("status = %d, want %d", got.status, status)
	}
	if diff := cmp.Diff(body, object(t, got)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func await(t *testing.T, endpoint *simulator.TokenEndpoint, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := endpoint.AwaitTokenRequests(ctx, n); err != nil {
		t.Fatal(err)
	}
}

// begin sends a request in the background, and returns a channel that receives the answer.
func begin(t *testing.T, client *http.Client, r *http.Request) <-chan response {
	answers := make(chan response, 1)
	go func() {
		got, err := send(client, r)
		if err != nil {
			t.Error(err)
		}
		answers <- got
	}()
	return answers
}
