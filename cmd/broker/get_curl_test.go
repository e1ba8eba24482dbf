package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shell runs a script with sh. The given folder is the first folder in which sh looks for programs.
func shell(t *testing.T, script, folder string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh")
	command.Stdin = strings.NewReader(script)
	command.Env = append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	command.Dir = folder
	out, err := command.Output()
	if err != nil {
		t.Fatalf("sh: %v", err)
	}
	return string(out)
}

// fakeCurl writes a program named curl that stores its arguments and its input in files.
func fakeCurl(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	program := "#!/bin/sh\nprintf '%s\\n' \"$@\" >arguments\ncat >config\n"
	if err := os.WriteFile(filepath.Join(folder, "curl"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}

const wantConfig = `no-location
globoff
url = "https://api.odd.test/x?a=%5B1-9%5D&b='$(id)&odd=a%22b%5Cn+%27%24HOME%27+%24%28id%29+%60id%60+%2541+%26+c%5C"
header = "X-Odd: a\"b\\n '$HOME' $(id) ` + "`id`" + ` %41 & c\\"
`

// TestGetCurlThroughAShell checks that the shell passes the configuration to curl unchanged, and
// that curl's arguments, which every user of the machine can read, contain no secret.
func TestGetCurlThroughAShell(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	script := succeed(t, "get", "odd", "-o", "curl", "--url", "https://api.odd.test/x?a=%5B1-9%5D&odd=old&b='$(id)")
	folder := fakeCurl(t)
	if out := shell(t, script, folder); out != "" {
		t.Errorf("the shell prints %q", out)
	}
	arguments, err := os.ReadFile(filepath.Join(folder, "arguments"))
	if err != nil || string(arguments) != "--config\n-\n" {
		t.Errorf("curl's arguments are %q (%v)", arguments, err)
	}
	config, err := os.ReadFile(filepath.Join(folder, "config"))
	if err != nil || string(config) != wantConfig {
		t.Errorf("curl's configuration is\n%s\n(%v), want\n%s", config, err, wantConfig)
	}
	if broker.secretIn(string(arguments)) {
		t.Error("an argument contains a secret")
	}
}

func TestGetCurlAnyCredential(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	for id, url := range map[string]string{
		"sendpulse-oauth": "https://api.sendpulse.com/user/info",
		"pulsedive":       "https://pulsedive.com/api/info.php?indicator=x.com",
		"spotdraft":       "https://api.in.spotdraft.com/api/v2.1/public/contract_types/",
	} {
		folder := fakeCurl(t)
		shell(t, succeed(t, "get", id, "-o", "curl", "--url", url), folder)
		config, err := os.ReadFile(filepath.Join(folder, "config"))
		if err != nil || !broker.secretIn(string(config)) || !strings.Contains(string(config), "url = \""+url) {
			t.Errorf("%s: curl's configuration lacks the material or the URL (%v)", id, err)
		}
	}
}

// realProvider records what it receives, and answers each request with a redirect.
type realProvider struct {
	*httptest.Server
	paths, headers, params, bodies []string
}

// startProvider starts a provider, which redirects with the given status, and a broker that has a
// credential for it.
func startProvider(t *testing.T, status int) *realProvider {
	t.Helper()
	p := new(realProvider)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.paths = append(p.paths, r.URL.Path)
		p.headers = append(p.headers, r.Header.Values("X-Odd")...)
		p.params = append(p.params, r.URL.Query()["odd"]...)
		p.bodies = append(p.bodies, r.PostFormValue("a"))
		http.Redirect(w, r, "/elsewhere", status)
	}))
	startBroker(t, "tcp", strings.TrimPrefix(p.URL, "http://"))
	return p
}

// TestGetCurlForReal checks that the real curl reads the quoted values and follows no redirect.
func TestGetCurlForReal(t *testing.T) {
	provider := startProvider(t, http.StatusFound)
	script := succeed(t, "get", "odd", "-o", "curl", "--url", provider.URL+"/{a,b}?odd=old")

	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, ".curlrc"), []byte("location\nsilent\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", folder)
	t.Setenv("CURL_HOME", folder)
	shell(t, script, folder)
	provider.Close() // Close waits until the handler has returned
	if !slices.Equal(provider.paths, []string{"/{a,b}"}) {
		t.Errorf("curl requested %q", provider.paths)
	}
	if !slices.Equal(provider.headers, []string{oddSecret}) || !slices.Equal(provider.params, []string{oddSecret}) {
		t.Error("the header or the query parameter that the provider received differs from the credential's value")
	}
}

func TestGetCurlForOtherHosts(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	const (
		name  = "If the host belongs to the provider, add it to the credential's 'allowed_hosts'."
		https = "Begin --url with https://: material is only sent over encrypted connections."
	)
	for url, advice := range map[string]string{
		"https://elsewhere.test/":      name,
		"https://192.0.2.1/":           name,
		"http://127.0.0.1:1/":          name,
		"http://api.odd.test/":         https,
		"http://api.odd.test:443/":     https,
		"HTTP://API.odd.test/":         https,
		"ftp://api.odd.test/":          https,
		"https://api.odd.test./":       "Leave out the dot at the end of the host.",
		"https://api.odd.test:8443/":   "The host is only allowed at port 443. If the port in --url is right, add the host with this port",
		"https://API.odd.test:8443/":   "The host is only allowed at port 443. If the port in --url",
		"https://x.api.odd.test:8443/": name,
	} {
		stdout, stderr, code := invoke(t, "get", "odd", "-o", "curl", "--url", url)
		if code != exitProblem || stdout != "" || !strings.HasPrefix(stderr, "the material must not be sent to this host: ") || !strings.Contains(stderr, "\n  "+advice) {
			t.Errorf("%s: the exit code is %d, and the output is\n%s\nwant the exit code 1 and the advice %s", url, code, stderr, advice)
		}
		if broker.secretIn(stderr) {
			t.Errorf("%s: the explanation contains a secret", url)
		}
	}
	startBroker(t, "tcp", "api.odd.test:8443")
	wantProblem(t, []string{"get", "odd", "-o", "curl", "--url", "https://api.odd.test/"}, `\n  The host is only allowed at another port`)
	startBroker(t, "tcp", "127.0.0.1")
	wantProblem(t, []string{"get", "odd", "-o", "curl", "--url", "http://127.0.0.1/"}, `\n  The host is only allowed at port 443: use https://, or`)
}
