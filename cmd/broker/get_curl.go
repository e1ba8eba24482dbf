package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// checkURL says what is wrong with a URL before anybody is asked.
func checkURL(text string) error {
	parsed, err := url.Parse(text)
	switch {
	case err != nil || parsed.Scheme == "" || parsed.Host == "" || strings.ContainsAny(text, " \""):
		return errors.New("--url must be a URL such as https://api.example.com/v1/things?page=1")
	case parsed.User != nil:
		return errors.New("--url must hold no user name and password: the broker's material takes their place")
	}
	return nil
}

// printCurl prints a command that makes a call with the material. The material is no
// argument of curl's: every user of a machine can read the arguments of every process.
// curl reads it from a heredoc, and the shell, as its delimiter is quoted, takes all of
// it as it stands. That leaves the one syntax of curl's own files, which curlQuote
// writes; no line of theirs can be the delimiter.
//
// `-H @-` would be shorter, but leaves the URL an argument, and so the material that is
// a query parameter.
func printCurl(out io.Writer, decoration *authmaterialv1.AuthDecoration, target string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		return errors.New("--url is no URL")
	}
	if err := client.Apply(request, decoration); err != nil {
		return adviseHost(err, request.URL, decoration.GetAllowedHosts())
	}
	var text strings.Builder
	text.WriteString("curl --config - <<'END_OF_CONFIG'\n")
	// A redirect, which ~/.curlrc may let curl follow, could lead to another host.
	text.WriteString("no-location\n")
	text.WriteString("globoff\n")
	fmt.Fprintf(&text, "url = %s\n", curlQuote(request.URL.String()))
	for _, header := range decoration.GetHeaders() {
		if !httpguts.ValidHeaderFieldName(header.GetName()) || !httpguts.ValidHeaderFieldValue(header.GetValue()) {
			return errors.New("the broker's answer has a header that HTTP does not allow")
		}
		fmt.Fprintf(&text, "header = %s\n", curlQuote(header.GetName()+": "+header.GetValue()))
	}
	text.WriteString("END_OF_CONFIG\n")
	_, err = io.WriteString(out, text.String())
	return err
}

// adviseHost adds to the error of client.Apply what to do about the URL.
func adviseHost(err error, target *url.URL, allowed []string) error {
	if !errors.Is(err, client.ErrHostNotAllowed) {
		return err
	}
	advice := "If it is the provider's: name it under 'allowed_hosts' of the credential."
	host := strings.ToLower(target.Hostname())
	switch ip, parseErr := netip.ParseAddr(host); {
	case target.Scheme != "https" && (target.Scheme != "http" || parseErr != nil || !ip.IsLoopback()):
		advice = "Begin --url with https://: material goes over encrypted connections alone."
	case strings.HasSuffix(host, "."):
		advice = "Leave out the dot at the end of the host."
	case target.Scheme == "http" && slices.Contains(allowed, host):
		advice = "The host is allowed at port 443 alone: begin --url with https://, or name the host with its port under 'allowed_hosts' of the credential."
	case slices.Contains(allowed, host):
		advice = "The host is allowed at port 443 alone. If this port is the provider's too: name the host with the port under 'allowed_hosts' of the credential."
	case slices.ContainsFunc(allowed, func(entry string) bool { return strings.HasPrefix(entry, host+":") }):
		advice = "The host is allowed at another port alone: give --url that port."
	}
	return fmt.Errorf("%w\n  %s", err, advice)
}

// curlQuote writes a value as curl's files have it. Control characters are in none: a
// header with one was refused, and a URL with one is not parsed.
func curlQuote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
