package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// scriptedCurl puts a program named curl on PATH. The program appends its arguments and its
// configuration to files in the returned folder, and then runs the given line of shell.
func scriptedCurl(t *testing.T, line string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	program := "#!/bin/sh\ncd '" + folder + "'\nprintf '%s\\n' \"$@\" >>arguments\ncat /dev/fd/3 >>config\n" + line + "\n"
	if err := os.WriteFile(filepath.Join(folder, "curl"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	return folder
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCurlArguments checks that curl's arguments, which every user of the machine can read, contain
// no secret.
func TestCurlArguments(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	folder := scriptedCurl(t, "echo body; exit 22")
	stdout, stderr, code := invoke(t, "curl", "odd", "--", "-sXPOST", "-d", "a=1", "https://api.odd.test/x?odd=old", "-H", "X-Other: 1")
	if code != 22 || stdout != "body\n" || stderr != "" {
		t.Errorf("got exit code %d, %q, %q; want 22, the body, and no error", code, stdout, stderr)
	}
	arguments := readText(t, filepath.Join(folder, "arguments"))
	const want = "--disable\n--config\n/dev/fd/3\n--silent\n--request\nPOST\n--data\na=1\n--header\nX-Other: 1\n"
	if arguments != want || broker.secretIn(arguments) {
		t.Errorf("curl's arguments are %q, want %q", arguments, want)
	}
	config := readText(t, filepath.Join(folder, "config"))
	if !strings.HasPrefix(config, "globoff\nno-location\nproto = \"=https\"\nurl = \"https://api.odd.test/x?odd=a%22b") || strings.Contains(config, "odd=old") {
		t.Errorf("curl's configuration is %s", config)
	}
}

func TestCurlRepeatsRejectedRequests(t *testing.T) {
	startBroker(t, "tcp", host)
	folder := scriptedCurl(t, `
if [ -e once ]; then echo 'HTTP/2 200' >&4; echo new; exit 0; fi
touch once; echo 'HTTP/1.1 100 Continue' >&4; echo 'HTTP/2 401' >&4; echo old; exit 22`)
	stdout, stderr, code := invoke(t, "curl", "--retry-rejected", "sendpulse-oauth", "--", "https://api.sendpulse.com/user/info")
	if code != exitOK || stdout != "new\n" || stderr != "" {
		t.Errorf("got exit code %d, %q, %q; want only the second response", code, stdout, stderr)
	}
	var tokens []string
	for line := range strings.Lines(readText(t, filepath.Join(folder, "config"))) {
		if strings.HasPrefix(line, "header = ") {
			tokens = append(tokens, line)
		}
	}
	if len(tokens) != 2 || tokens[0] == tokens[1] {
		t.Errorf("curl ran %d times, and want two runs with different tokens", len(tokens))
	}
}

// TestCurlEvaluatesConditions runs curl with answers that are or are not rejections.
func TestCurlEvaluatesConditions(t *testing.T) {
	startBroker(t, "tcp", host)
	for answer, runs := range map[string]int{
		`printf 'HTTP/2 200\r\n\r\n' >&4; echo '{"ok": false, "error": {"code": 8, "text": "a\"b"}}'`:            2,
		`printf 'HTTP/2 200\r\n\r\n' >&4; echo '{"ok": true, "error": {"code": 8, "text": "a\"b"}}'`:             1,
		`printf 'HTTP/2 403\r\nx-reason: expired\r\n\r\n' >&4; echo no`:                                          2,
		`printf 'HTTP/1.1 100 Continue\r\nX-Reason: expired\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n' >&4; echo no`: 1,
		`printf 'HTTP/2 403\r\nX-Reason: plan\r\n\r\n' >&4; echo no`:                                             1,
	} {
		folder := scriptedCurl(t, "[ -e once ] && exit 0; touch once; "+answer)
		_, stderr, code := invoke(t, "curl", "--retry-rejected", "conditional", "--", "https://api.odd.test/")
		if got := strings.Count(readText(t, filepath.Join(folder, "config")), "globoff"); code != exitOK || stderr != "" || got != runs {
			t.Errorf("%s: curl ran %d times, want %d; exit code %d, %q", answer, got, runs, code, stderr)
		}
	}
}

func TestCurlKeepsAHeaderOfTheArguments(t *testing.T) {
	startBroker(t, "tcp", host)
	for argument, want := range map[string]bool{"-HX-Other: 1": true, "-Hx-version: mine": false} {
		folder := scriptedCurl(t, "")
		invoke(t, "curl", "conditional", "--", "https://api.odd.test/", argument)
		config := readText(t, filepath.Join(folder, "config"))
		if got := strings.Contains(config, "header = \"X-Version: v1\"\n"); got != want || !strings.Contains(config, "header = \"Authorization: Bearer ") {
			t.Errorf("with %s, the configuration of curl has the broker's header: %v, want %v", argument, got, want)
		}
	}
}

func TestCurlPassesOtherResponsesOn(t *testing.T) {
	startBroker(t, "tcp", host)
	for status, want := range map[string]string{
		"500": "",
		"401": "broker: the provider rejected the material with HTTP status 401, and the broker has no other: NOT_REPLACEABLE\n",
	} {
		folder := scriptedCurl(t, "echo 'HTTP/2 "+status+"' >&4; echo body")
		stdout, stderr, code := invoke(t, "curl", "--retry-rejected", "odd", "--", "https://api.odd.test/")
		if code != exitOK || stdout != "body\n" || stderr != want {
			t.Errorf("%s: got exit code %d, %q, %q; want the body and %q", status, code, stdout, stderr, want)
		}
		if runs := strings.Count(readText(t, filepath.Join(folder, "config")), "globoff"); runs != 1 {
			t.Errorf("%s: curl ran %d times, want 1", status, runs)
		}
	}
}

// TestCurlForReal checks that the real curl follows no redirect, and that its exit code is that of the
// command.
func TestCurlForReal(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, ".curlrc"), []byte("location\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", folder)
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	for status, want := range map[int]int{http.StatusFound: exitOK, http.StatusTeapot: 22} {
		provider := startProvider(t, status)
		stdout, _, code := invoke(t, "curl", "odd", "--retry-rejected", "--", "-sSfw", "%{http_code}", "-d", "a=1", provider.URL+"/{a,b}")
		provider.Close()
		if code != want || !strings.HasSuffix(stdout, strconv.Itoa(status)) || !slices.Equal(provider.paths, []string{"/{a,b}"}) || !slices.Equal(provider.bodies, []string{"1"}) {
			t.Errorf("%d: got exit code %d, %q, and requests to %q with %q", status, code, stdout, provider.paths, provider.bodies)
		}
		if !slices.Equal(provider.headers, []string{oddSecret}) {
			t.Errorf("%d: the header that the provider received differs from the credential's value", status)
		}
	}
}

func TestCurlOtherHost(t *testing.T) {
	startBroker(t, "tcp", host)
	folder := scriptedCurl(t, "")
	wantProblem(t, []string{"curl", "odd", "--", "https://elsewhere.test/"}, "the material must not be sent to this host")
	wantProblem(t, []string{"curl", "odd", "--", "https://api.odd.test/", "-H", "x-odd : 1"}, "the broker supplies the header X-Odd: leave it out")
	if _, err := os.Stat(filepath.Join(folder, "arguments")); err == nil {
		t.Error("curl ran")
	}
}

func TestCurlWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"curl":                                      "the ID of a credential is needed",
		"curl a":                                    "the URL to call is needed",
		"curl a -- -s":                              "the URL to call is needed",
		"curl a -- https://a https://b":             "one command calls one URL",
		"curl a -- https://a --url https://b":       "one command calls one URL",
		"curl a -- https://a --next https://b":      "one command calls one URL",
		"curl a -- -sL https://a":                   "does not pass on -L: a redirect can lead to another host",
		"curl a -- --locat https://a":               "does not pass on curl's option --locat",
		"curl a -- -K file https://a":               "does not pass on -K",
		"curl a -- -x p https://a":                  "does not pass on -x: use the environment variable https_proxy",
		"curl a -- --resolve x https://a":           "does not pass on curl's option --resolve",
		"curl a -- -v https://a":                    "does not pass on -v: it prints the material",
		"curl a -- -H @file https://a":              "does not pass on --header @FILE",
		"curl a -- -H host:x https://a":             "does not pass on the header Host",
		"curl a -- -w %{url_effective} https://a":   "does not pass on --write-out",
		"curl a -- -w %{URL_Effective} https://a":   "does not pass on --write-out",
		"curl a -- -w %{JSON} https://a":            "does not pass on --write-out",
		"curl a -- https://a -d":                    "curl's option -d needs an argument",
		"curl a -- https://u:p@a":                   "the URL must not contain a user name and password",
		"curl a --token-file - -- https://a":        "standard input belongs to curl",
		"curl a --retry-rejected -- https://a -d@-": "cannot send standard input twice",
		"curl a --retry-rejected -- https://a -T- ": "cannot send standard input twice",
		"curl a --retry-rejected -- https://a -Dx":  "--retry-rejected and curl's --dump-header",
	} {
		stdout, stderr, code := invoke(t, strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: got exit code %d, %q; want exit code 2 and %q", line, code, stderr, want)
		}
	}
}

func TestGetHeaderAndEnv(t *testing.T) {
	startBroker(t, "tcp", host)
	wantProblem(t, []string{"get", "odd", "-o", "header"}, "-o header cannot be used: the credential has a query parameter")
	wantProblem(t, []string{"get", "odd", "-o", "netrc"}, "-o netrc cannot be used: the material is not a user name and password")
	if text := succeed(t, "get", "sendpulse-oauth", "-o", "header"); !strings.HasPrefix(text, "Authorization: Bearer ") || strings.Count(text, "\n") != 1 {
		t.Error("the headers are not one line `Authorization: Bearer …`")
	}
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte(succeed(t, "get", "odd", "-o", "env")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `set -a; . "$0"; printf '%s\n' "$AUTH_HEADER_X_ODD" "$AUTH_QUERY_ODD"`, file).Output()
	if err != nil || string(out) != oddSecret+"\n"+oddSecret+"\n" {
		t.Errorf("a shell reads other values than the broker's (%v)", err)
	}
}
