// Package formtest tests each key of provider definitions with a broker that is asked over gRPC. The
// files in testdata have the cases: a definition, the bytes of the requests that the broker must send,
// the answers to them, and the decoration that must come out.
package formtest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// testCase is one case of a file in testdata. Each has either a Decoration, a Failure or a Problem.
type testCase struct {
	Name string
	// Hosts are the allowed hosts of the provider, by default api.example.com.
	Hosts   []string
	AnyHost bool `yaml:"any_host"`
	// Fields are the IDs of the fields, separated by commas. A field with a question mark is optional,
	// and one with an asterisk is secret.
	Fields string
	// Method is the definition of the auth method without its ID, name and fields.
	Method string
	// Values are the values of the credential. `made:NAME` stands for the PEM that `made` returns.
	Values map[string]string
	// AddedHosts are the allowed hosts of the credential.
	AddedHosts []string `yaml:"added_hosts"`
	Exchanges  []exchange
	// JWT describes the JWT that the last request or the decoration contains, as the word JWT.
	JWT *signed `yaml:"jwt"`
	// Decoration has the allowed hosts, the headers, the query parameters with a question mark in
	// front, and the duration until the decoration expires, one a line.
	Decoration string
	// Failure is the reason and the message of the call's error.
	Failure string
	// Problem is the end of the configuration's problem.
	Problem string
}

// exchange is a request, without the headers in usualHeaders, and the answer to it.
type exchange struct{ Request, Answer string }

func TestForm(t *testing.T) {
	for file, cases := range readCases(t) {
		for _, c := range cases {
			t.Run(file+"/"+c.Name, c.run)
		}
	}
}

// readCases returns the cases by the names of their files.
func readCases(t *testing.T) map[string][]testCase {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	all := map[string][]testCase{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []testCase
		if err := yaml.Load(text, &cases, yaml.WithKnownFields()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = cases
	}
	return all
}

func (c testCase) run(t *testing.T) {
	net := newInternet(t)
	for _, e := range c.Exchanges {
		net.answers = append(net.answers, net.fill(e.Answer))
	}
	b, err := newBroker(t, net, net.fill(c.configuration(t, net)))
	if c.Problem != "" {
		if err == nil || !strings.HasSuffix(err.Error(), c.Problem) {
			t.Errorf("the configuration has the problem\n%v\nwant\n%s", err, c.Problem)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	decoration, failure := b.decoration()
	sent := net.requests()
	if len(sent) != len(c.Exchanges) {
		t.Errorf("%d requests were sent, want %d", len(sent), len(c.Exchanges))
	}
	for i := range min(len(sent), len(c.Exchanges)) {
		got := c.withoutJWT(t, withoutUsual(t, sent[i]))
		if want := net.fill(strings.TrimSuffix(c.Exchanges[i].Request, "\n")); got != want {
			t.Errorf("request %d is\n%s\nwant\n%s", i+1, got, want)
		}
	}
	if got := c.withoutJWT(t, decoration); got != strings.TrimSpace(c.Decoration) {
		t.Errorf("the decoration is\n%s\nwant\n%s", got, c.Decoration)
	}
	if failure != strings.TrimSpace(c.Failure) {
		t.Errorf("the failure is\n%s\nwant\n%s", failure, c.Failure)
	}
}

// fill replaces the word LOOPBACK by the address at which the internet listens.
func (n *internet) fill(text string) string {
	return strings.ReplaceAll(text, "LOOPBACK", n.listener.Addr().String())
}

// usualHeaders are in each request, unless the definition sets them.
var usualHeaders = []string{
	"User-Agent: authmaterial-broker/formtest", "Accept: application/json", "Accept-Encoding: gzip", "Connection: close",
}

// withoutUsual returns a request without the usual headers and the length of its body, and with plain
// line ends. It checks that the request has no header of these names twice.
func withoutUsual(t *testing.T, raw string) string {
	t.Helper()
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	for _, usual := range usualHeaders {
		name, _, _ := strings.Cut(usual, ":")
		var found []string
		for _, line := range lines {
			if strings.HasPrefix(line, name+":") {
				found = append(found, line)
			}
		}
		if len(found) != 1 {
			t.Errorf("the request has the headers %q, want one %s", found, name)
		}
		lines = slices.DeleteFunc(lines, func(line string) bool { return line == usual })
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Content-Length: ") })
	return strings.TrimSuffix(strings.Join(lines, "\n")+"\n\n"+body, "\n\n")
}

// TestWholeRequest shows every byte of a token request.
func TestWholeRequest(t *testing.T) {
	net := newInternet(t)
	net.answers = []string{"200\n\n" + `{"access_token":"t"}`}
	c := testCase{
		Fields: "client_id, client_secret*",
		Method: `{token_request: {url: "https://auth.example.com/token?a=b", body: FORM, client_authentication: REQUEST_BODY}, headers: [{name: A, value: "${token}"}]}`,
		Values: map[string]string{"client_id": "i", "client_secret": "s"},
	}
	b, err := newBroker(t, net, c.configuration(t, net))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = b.decoration()
	want := strings.ReplaceAll(`POST /token?a=b HTTP/1.1
Host: auth.example.com
User-Agent: authmaterial-broker/formtest
Content-Length: 57
Accept: application/json
Content-Type: application/x-www-form-urlencoded
Accept-Encoding: gzip
Connection: close

client_id=i&client_secret=s&grant_type=client_credentials`, "\n", "\r\n")
	if got := net.requests(); len(got) != 1 || got[0] != want {
		t.Errorf("the requests are\n%q\nwant\n%q", got, want)
	}
}
