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

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func checkURL(text string) error {
	parsed, err := url.Parse(text)
	switch {
	case err != nil || parsed.Scheme == "" || parsed.Host == "" || strings.ContainsAny(text, " \""):
		return errors.New("--url must be a URL such as https://api.example.com/v1/things?page=1")
	case parsed.User != nil:
		return errors.New("--url must not contain a user name and password: the broker's material replaces them")
	}
	return nil
}

// printCurl prints a curl command that makes a call with the material. Every user of a machine can
// read the arguments of every process, so curl reads the material from a heredoc instead. The
// delimiter of the heredoc is quoted, so that the shell does not change the text. No line of the
// text can equal the delimiter.
//
// The option `-H @-` would be shorter, but the URL, whose query parameters can contain material,
// would still be one of curl's arguments.
func printCurl(out io.Writer, decoration *authmaterialv1.AuthDecoration, target string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	if err != nil {
		return errors.New("--url is not a valid URL")
	}
	if err := client.Apply(request, decoration); err != nil {
		return adviseHost(err, request.URL, decoration.GetAllowedHosts())
	}
	var text strings.Builder
	text.WriteString("curl --config - <<'END_OF_CONFIG'\n")
	// The user's ~/.curlrc may tell curl to follow redirects, which could lead to another host.
	text.WriteString("no-location\n")
	text.WriteString("globoff\n")
	fmt.Fprintf(&text, "url = %s\n", curlQuote(request.URL.String()))
	lines, err := headerLines(decoration)
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintf(&text, "header = %s\n", curlQuote(line))
	}
	text.WriteString("END_OF_CONFIG\n")
	_, err = io.WriteString(out, text.String())
	return err
}

func adviseHost(err error, target *url.URL, allowed []string) error {
	if !errors.Is(err, client.ErrHostNotAllowed) {
		return err
	}
	const field = "the credential's 'allowed_hosts'"
	advice := "If the host belongs to the provider, add it to " + field + "."
	host := strings.ToLower(target.Hostname())
	switch ip, parseErr := netip.ParseAddr(host); {
	case target.Scheme != "https" && (target.Scheme != "http" || parseErr != nil || !ip.IsLoopback()):
		advice = "Begin --url with https://: material is only sent over encrypted connections."
	case strings.HasSuffix(host, "."):
		advice = "Leave out the dot at the end of the host."
	case target.Scheme == "http" && slices.Contains(allowed, host):
		advice = "The host is only allowed at port 443: use https://, or add the host with its port to " + field + "."
	case slices.Contains(allowed, host):
		advice = "The host is only allowed at port 443. If the port in --url is right, add the host with this port to " + field + "."
	case slices.ContainsFunc(allowed, func(entry string) bool { return strings.HasPrefix(entry, host+":") }):
		advice = "The host is only allowed at another port: use that port in the URL."
	}
	return fmt.Errorf("%w\n  %s", err, advice)
}

// curlQuote quotes a value for curl's configuration files. The values contain no control
// characters: headers with control characters were rejected before, and URLs with control
// characters cannot be parsed.
func curlQuote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
