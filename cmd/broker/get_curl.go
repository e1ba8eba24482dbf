package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// checkURL says what is wrong with a URL before anybody is asked.
func checkURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || strings.ContainsAny(text, " \"") {
		return errors.New("--url must be a URL such as https://api.example.com/v1/things?page=1")
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
		return adviseHost(err)
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

func adviseHost(err error) error {
	if errors.Is(err, client.ErrHostNotAllowed) {
		return fmt.Errorf("%w\n  If it is the provider's: name it under 'allowed_hosts' of the credential", err)
	}
	return err
}

// curlQuote writes a value as curl's files have it. Control characters are in none: a
// header with one was refused, and a URL with one is not parsed.
func curlQuote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
