package clientworld

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func (w *world) judgeRequest(sent *requestOp, got *outcome, want *expected) error {
	if len(got.Results) != sent.Count {
		return fmt.Errorf("the outcome has %d results, want %d: %s", len(got.Results), sent.Count, got.raw)
	}
	for i := range got.Results {
		if err := judgeResult(sent.credential(i), &got.Results[i], want); err != nil {
			return fmt.Errorf("result %d: %w", i+1, err)
		}
	}
	if got.RequestAfter != nil {
		if err := judgeUnchanged(sent, got.RequestAfter); err != nil {
			return err
		}
	}
	if want == nil || want.Seen == nil {
		return nil
	}
	return w.judgeSeen(want.Seen)
}

// credential returns the credential of request i.
func (r *requestOp) credential(i int) string {
	if len(r.Credentials) == 0 {
		return r.Credential
	}
	return r.Credentials[i%len(r.Credentials)]
}

func judgeResult(credential string, got *result, want *expected) error {
	if got.Error != nil && got.Error.Reason != "" && got.Error.CredentialID != credential {
		return fmt.Errorf("the error has the credential ID %q, want %q", got.Error.CredentialID, credential)
	}
	switch {
	case want == nil:
		return nil
	case want.Error != nil:
		return judgeError(got.Error, want.Error, got.Status)
	case got.Error != nil:
		return fmt.Errorf("the request failed with reason %q: %s", got.Error.Reason, got.Error.Message)
	case want.Status != 0 && got.Status != want.Status:
		return fmt.Errorf("the status is %d, want %d; the body is %q", got.Status, want.Status, got.Body)
	case want.Body != nil && want.Pad == 0 && got.Body != *want.Body:
		return fmt.Errorf("the body is %q, want %q", got.Body, *want.Body)
	case want.Body != nil && got.Body != padded(*want.Body, want.Pad):
		return fmt.Errorf("the body has %d bytes and begins with %.100q, want %q and spaces up to %d bytes", len(got.Body), got.Body, *want.Body, want.Pad)
	}
	return compareHeaders(valuesIn(got.Headers), want.Headers)
}

func judgeError(got *clientError, want *expectedError, status int) error {
	if got == nil {
		return fmt.Errorf("the request succeeded with status %d, want an error with the reason %q", status, want.Reason)
	}
	if want.Reason != "" && got.Reason != want.Reason {
		return fmt.Errorf("the error has the reason %q, want %q; its message is %q", got.Reason, want.Reason, got.Message)
	}
	if want.Retry == nil {
		return nil
	}
	if got.RetrySeconds == nil || *got.RetrySeconds < want.Retry[0] || *got.RetrySeconds > want.Retry[1] {
		return fmt.Errorf("the error has the retry delay %s, want %v to %v s", pointed(got.RetrySeconds), want.Retry[0], want.Retry[1])
	}
	return nil
}

func pointed[T any](value *T) string {
	if value == nil {
		return "none"
	}
	return fmt.Sprint(*value)
}

// judgeUnchanged compares the program's request object with what the program made.
func judgeUnchanged(sent *requestOp, after *message) error {
	if withPath(after.URL) != withPath(sent.URL) {
		return fmt.Errorf("after the call, the program's request has the URL %q, want %q", after.URL, sent.URL)
	}
	for _, header := range sent.Headers {
		values, wanted := valuesIn(after.Headers)(header[0]), valuesIn(sent.Headers)(header[0])
		if !slices.Equal(values, wanted) && strings.Join(values, ", ") != strings.Join(wanted, ", ") {
			return fmt.Errorf("after the call, the program's request has %s %q, want %q", header[0], values, wanted)
		}
	}
	return nil
}

// withPath adds the path / to a URL without a path.
func withPath(text string) string {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Path != "" {
		return text
	}
	parsed.Path = "/"
	return parsed.String()
}

func (w *world) judgeSeen(want []seen) error {
	all := map[string][]request{}
	w.board.read(func() {
		for name, p := range w.providers {
			all[name] = slices.Clone(p.received)
		}
	})
	for i, one := range want {
		name := one.At
		if name == "" {
			name = "api"
		}
		if all[name] == nil && w.providers[name] == nil {
			return fmt.Errorf("there is no provider %q", name)
		}
		times := max(one.Times, 1)
		for range times {
			if len(all[name]) == 0 {
				return fmt.Errorf("the provider %s did not get request %d of those expected", name, i+1)
			}
			if err := w.compare(&all[name][0], &one); err != nil {
				return fmt.Errorf("request %d of those expected, at %s: %w", i+1, name, err)
			}
			all[name] = all[name][1:]
		}
	}
	for name, rest := range all {
		if len(rest) > 0 {
			return fmt.Errorf("the provider %s got %d requests more than expected: %s", name, len(rest), rest[0])
		}
	}
	return nil
}

func (w *world) compare(got *request, want *seen) error {
	method, target := want.Method, w.expand(want.Target)
	if method == "" {
		method = "GET"
	}
	if target == "" {
		target = "/"
	}
	switch {
	case got.method != method:
		return fmt.Errorf("the method is %s, want %s", got.method, method)
	case want.Scheme != "" && got.scheme != want.Scheme:
		return fmt.Errorf("the scheme is %s, want %s", got.scheme, want.Scheme)
	case want.Body != nil && got.body != *want.Body:
		return fmt.Errorf("the body is %q, want %q", got.body, *want.Body)
	}
	if err := compareTarget(got.target, target, want.Added); err != nil {
		return err
	}
	return compareHeaders(got.headers.Values, want.Headers)
}

// compareTarget compares a path and query with those expected. The parameters in `added` must
// follow the expected query, in any encoding.
func compareTarget(got, want string, added []pair) error {
	rest := got
	for _, param := range slices.Backward(added) {
		at := strings.LastIndexAny(rest, "?&")
		if at < 0 {
			return fmt.Errorf("the URL is %s, and the parameter %q is missing", got, param[0])
		}
		name, value, _ := strings.Cut(rest[at+1:], "=")
		plainName, nameErr := url.QueryUnescape(name)
		plainValue, valueErr := url.QueryUnescape(value)
		if errors.Join(nameErr, valueErr) != nil || plainName != param[0] || plainValue != param[1] {
			return fmt.Errorf("the URL is %s, and its parameter %q=%q should be %q=%q, encoded once", got, name, value, param[0], param[1])
		}
		rest = rest[:at]
	}
	if rest != want {
		return fmt.Errorf("the URL is %s, and without the parameters of the decoration %q, want %q", got, rest, want)
	}
	return nil
}

// compareHeaders compares headers with those expected: a value, a list of values, or nil for a
// header that must be absent.
func compareHeaders(values func(name string) []string, want map[string]any) error {
	for name, one := range want {
		wanted := []string{}
		switch one := one.(type) {
		case nil:
		case string:
			wanted = append(wanted, one)
		case []any:
			for _, value := range one {
				wanted = append(wanted, fmt.Sprint(value))
			}
		}
		if got := values(name); !slices.Equal(got, wanted) {
			return fmt.Errorf("the header %s is %q, want %q", name, got, wanted)
		}
	}
	return nil
}

func (w *world) judgeApply(got *outcome, want *expected) error {
	if want == nil {
		return nil
	}
	if want.Error != nil {
		return judgeError(got.Error, want.Error, 0)
	}
	if got.Error != nil {
		return fmt.Errorf("the operation failed with reason %q: %s", got.Error.Reason, got.Error.Message)
	}
	if want.URL != "" || want.Added != nil {
		if err := compareTarget(withPath(got.URL), w.expand(want.URL), want.Added); err != nil {
			return err
		}
	}
	return compareHeaders(valuesIn(got.Headers), want.Headers)
}

// valuesIn returns a function that returns the values of a header in a list of pairs.
func valuesIn(headers []pair) func(name string) []string {
	return func(name string) (values []string) {
		for _, header := range headers {
			if strings.EqualFold(header[0], name) {
				values = append(values, header[1])
			}
		}
		return values
	}
}

// parseOutcome reads an outcome from the runner.
func parseOutcome(text []byte) (*outcome, error) {
	got := &outcome{raw: string(text)}
	if err := json.Unmarshal(text, got); err != nil {
		return nil, fmt.Errorf("the runner's outcome is not as clients/vectors/README.md describes: %w: %s", err, text)
	}
	return got, nil
}
