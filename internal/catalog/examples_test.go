package catalog_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/verification"
)

// example is an example of what a provider expects, which somebody copied from the documentation of
// the provider or from another client. See testdata/examples.
type example struct {
	AuthMethod    string `yaml:"auth_method"`
	Source        string
	Note          string
	Values        map[string]string
	AllowedHosts  []string `yaml:"allowed_hosts"`
	Hosts         []string
	Headers       []pair
	QueryParams   []pair           `yaml:"query_params"`
	TokenRequests []tokenExample   `yaml:"token_requests"`
	JWT           *jwtExample      `yaml:"jwt"`
	Rejection     *responseExample // what the API answers if it rejects the material
	Accepted      *responseExample // what the API answers to the verification

	provider string
}

type pair struct {
	Name, Value  string
	OnlyIfAbsent bool `yaml:"only_if_absent"`
}

// tokenExample is a request that the broker sends for a token, and its answer.
type tokenExample struct {
	Method, URL string
	Headers     map[string]string // those that matter
	Body        string            // JWT stands for a signed JWT
	JWT         *jwtExample       `yaml:"jwt"`
	Answer      responseExample
}

type responseExample struct {
	Status  int
	Headers map[string]string
	Body    string
	Source  string
}

func (r responseExample) header() http.Header {
	header := http.Header{}
	for name, value := range r.Headers {
		header.Set(name, value)
	}
	return header
}

func (r responseExample) response(request *http.Request) *http.Response {
	return &http.Response{StatusCode: r.Status, Header: r.header(), Body: io.NopCloser(strings.NewReader(r.Body)), Request: request}
}

func (e *example) id() string { return e.provider + "." + e.AuthMethod }

func loadExamples(t *testing.T) (all []*example) {
	t.Helper()
	files, err := filepath.Glob("testdata/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no examples", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Examples []*example }
		if err := yaml.Load(text, &content, yaml.WithKnownFields()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, e := range content.Examples {
			e.provider = strings.TrimSuffix(filepath.Base(file), ".yaml")
			all = append(all, e)
		}
	}
	return all
}

// TestEveryMethodHasAnExample checks that each method of the built-in providers has an example.
func TestEveryMethodHasAnExample(t *testing.T) {
	examples := loadExamples(t)
	for _, provider := range catalog.Builtin().Providers() {
		for _, method := range provider.AuthMethods {
			if !slices.ContainsFunc(examples, func(e *example) bool {
				return e.id() == provider.ID+"."+method.ID && e.Source != "" && e.Rejection != nil
			}) {
				t.Errorf("%s.%s has no example with a source and a rejection", provider.ID, method.ID)
			}
		}
	}
}

// TestExamples checks that the broker sends what the examples show, and understands the answers.
func TestExamples(t *testing.T) {
	examples := loadExamples(t)
	keys := newKeys(t)
	provider := &exampleProvider{t: t, keys: keys}
	loaded, err := config.Parse("examples.yaml", configOf(t, examples, keys), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler), TokenTransport: provider, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	client := authmaterialv1.NewBrokerServiceClient(serve(t, broker))
	for number, e := range examples {
		t.Run(e.id(), func(t *testing.T) {
			id := credentialID(number)
			provider.expect(t, e.TokenRequests)
			response, err := client.GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
			if err != nil {
				t.Fatal(err)
			}
			provider.finish(t)
			keys.checkDecoration(t, e, response.GetAuthDecoration())
			checkAnswers(t, e, loaded, id)
		})
	}
}

func credentialID(number int) string { return fmt.Sprintf("example-%d", number) }

// configOf returns a configuration file with a credential for each example.
func configOf(t *testing.T, examples []*example, keys *keys) []byte {
	t.Helper()
	var items []map[string]any
	for number, e := range examples {
		values := map[string]any{}
		for field, value := range e.Values {
			values[field] = map[string]string{"value": keys.insert(value)}
		}
		items = append(items, map[string]any{
			"id": credentialID(number), "provider": e.provider, "auth_method": e.AuthMethod, "values": values,
			"allowed_hosts": append([]string{}, e.AllowedHosts...),
		})
	}
	text, err := yaml.Dump(map[string]any{"credentials": items})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleProvider is a RoundTripper that expects the requests of one example at a time.
type exampleProvider struct {
	t    *testing.T
	keys *keys

	mu       sync.Mutex
	expected []tokenExample
}

func (p *exampleProvider) expect(t *testing.T, requests []tokenExample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t, p.expected = t, requests
}

func (p *exampleProvider) finish(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range p.expected {
		t.Errorf("the request %s %s was not sent", request.Method, request.URL)
	}
}

func (p *exampleProvider) RoundTrip(request *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.expected) == 0 {
		p.t.Errorf("an unexpected request %s %s", request.Method, request.URL)
		return responseExample{Status: 500}.response(request), nil
	}
	want := p.expected[0]
	p.expected = p.expected[1:]
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	p.check(request, string(body), want)
	return want.Answer.response(request), nil
}

func (p *exampleProvider) check(request *http.Request, body string, want tokenExample) {
	target := p.keys.cut(p.t, request.URL.String(), want.JWT)
	if request.Method != want.Method || normal(target, "") != normal(want.URL, "") {
		p.t.Errorf("the request is %s %s, want %s %s", request.Method, target, want.Method, want.URL)
	}
	for name, value := range want.Headers {
		if got := p.keys.cut(p.t, request.Header.Get(name), want.JWT); got != value {
			p.t.Errorf("the header %s is %q, want %q", name, got, value)
		}
	}
	got := p.keys.cut(p.t, body, want.JWT)
	format := request.Header.Get("Content-Type")
	if diff := cmp.Diff(normal(want.Body, format), normal(got, format)); diff != "" {
		p.t.Errorf("the body differs from the example:\n%s", diff)
	}
}

// checkAnswers checks that the broker takes the answers of the API for what they are.
func checkAnswers(t *testing.T, e *example, loaded *config.Config, id string) {
	t.Helper()
	credential := loaded.Credentials.Get(id)
	if e.Rejection != nil {
		body, jsonErr := jsonpath.Decode([]byte(e.Rejection.Body))
		header := e.Rejection.header()
		matches := func(c catalog.Condition) bool { return c.Matches(e.Rejection.Status, header, body, jsonErr == nil) }
		method := credential.Method
		if !slices.Contains(method.RejectedStatuses, e.Rejection.Status) && !slices.ContainsFunc(method.RejectedWhen, matches) {
			t.Errorf("the answer with the status %d is no rejection according to the definition", e.Rejection.Status)
		}
	}
	if credential.Method.Verification == nil {
		return
	}
	answers := map[catalog.Outcome]*responseExample{catalog.Refused: e.Rejection, catalog.Accepted: e.Accepted, catalog.Inconclusive: nil}
	for outcome, answer := range answers {
		if answer == nil {
			continue // the sources show no such answer
		}
		asked := 0
		verifier := verification.New(verification.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			for _, token := range e.TokenRequests {
				if token.URL == r.URL.String() {
					return token.Answer.response(r), nil
				}
			}
			asked++
			return answer.response(r), nil
		})})
		result, err := verifier.Verify(context.Background(), credential, nil)
		if err != nil || result.Outcome != outcome {
			t.Errorf("the verification has the outcome %s (%s) and the error %v, want %s", result.Outcome, result.Explanation, err, outcome)
		}
		if asked == 0 {
			t.Error("the verification did not ask the API")
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
