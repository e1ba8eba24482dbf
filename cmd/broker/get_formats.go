package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/http/httpguts"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// headerLines returns the headers of a decoration as lines of the form `Name: value`.
func headerLines(decoration *authmaterialv1.AuthDecoration) ([]string, error) {
	var lines []string
	for _, header := range decoration.GetHeaders() {
		if !httpguts.ValidHeaderFieldName(header.GetName()) || !httpguts.ValidHeaderFieldValue(header.GetValue()) {
			return nil, errors.New("the broker's response has a header that HTTP does not allow")
		}
		lines = append(lines, header.GetName()+": "+header.GetValue())
	}
	return lines, nil
}

func printHeaders(out io.Writer, decoration *authmaterialv1.AuthDecoration) error {
	if len(decoration.GetQueryParams()) > 0 {
		return errors.New("-o header cannot be used: the credential has a query parameter; use -o curl, -o env or 'broker curl'")
	}
	lines, err := headerLines(decoration)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

var (
	notInVariable = regexp.MustCompile(`[^A-Z0-9_]`)
	plainWord     = regexp.MustCompile(`^[A-Za-z0-9_./+=:@%,-]+$`)
)

// printEnv prints one assignment for each header and query parameter. A POSIX shell reads each
// assignment as the unchanged value.
func printEnv(out io.Writer, decoration *authmaterialv1.AuthDecoration) error {
	var text strings.Builder
	seen := map[string]bool{}
	add := func(prefix, name, value string) error {
		variable := prefix + notInVariable.ReplaceAllString(strings.ToUpper(name), "_")
		if seen[variable] {
			return fmt.Errorf("-o env cannot be used: two parts of the material would get the name %s; use -o json", variable)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("-o env cannot be used: the value of %s has a line break; use -o json", variable)
		}
		seen[variable] = true
		if !plainWord.MatchString(value) {
			value = `'` + strings.ReplaceAll(value, `'`, `'\''`) + `'`
		}
		text.WriteString(variable + "=" + value + "\n")
		return nil
	}
	for _, header := range decoration.GetHeaders() {
		if err := add("AUTH_HEADER_", header.GetName(), header.GetValue()); err != nil {
			return err
		}
	}
	for _, parameter := range decoration.GetQueryParams() {
		if err := add("AUTH_QUERY_", parameter.GetName(), parameter.GetValue()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// printNetrc prints one line for each allowed host. The format has no ports, and its readers
// disagree about quotes, so printNetrc accepts only hosts without a port, and values that need no
// quotes.
func printNetrc(out io.Writer, decoration *authmaterialv1.AuthDecoration) error {
	user, password, ok := basicAuth(decoration)
	if !ok {
		return errors.New("-o netrc cannot be used: the material is not a user name and password (HTTP Basic); use -o header, -o curl or 'broker curl'")
	}
	for _, value := range []string{user, password} {
		if value == "" || strings.ContainsAny(value, " \t\r\n\x00\"'\\#") {
			return errors.New("-o netrc cannot be used: the user name or the password is empty or has a character that needs quotes; use -o header or -o curl")
		}
	}
	var text strings.Builder
	for _, host := range decoration.GetAllowedHosts() {
		if strings.ContainsAny(host, ": \t\r\n") {
			return fmt.Errorf("-o netrc cannot be used: the allowed host %s has a port, and a netrc file has no ports; use -o header or -o curl", printable(host))
		}
		fmt.Fprintf(&text, "machine %s login %s password %s\n", host, user, password)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// basicAuth returns the user name and password of material that is only HTTP Basic authentication.
func basicAuth(decoration *authmaterialv1.AuthDecoration) (user, password string, ok bool) {
	headers := decoration.GetHeaders()
	if len(headers) != 1 || len(decoration.GetQueryParams()) > 0 || !strings.EqualFold(headers[0].GetName(), "Authorization") {
		return "", "", false
	}
	scheme, encoded, _ := strings.Cut(headers[0].GetValue(), " ")
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}
