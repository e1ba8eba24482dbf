package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func newDecoration() *authmaterialv1.AuthDecoration {
	return &authmaterialv1.AuthDecoration{
		Headers:      []*authmaterialv1.Header{{Name: "x-api-key", Value: "k 1"}},
		QueryParams:  []*authmaterialv1.QueryParam{{Name: "key", Value: "a b&c=d"}},
		AllowedHosts: []string{"api.example.test", "api.example.test:8443", "127.0.0.1:8080", "[::1]:8080"},
	}
}

func TestApplyRejectsAnotherHostField(t *testing.T) {
	request := newRequest(t, "https://api.example.test/")
	request.Host = "evil.test"
	if err := client.Apply(request, newDecoration()); !errors.Is(err, client.ErrHostNotAllowed) || len(request.Header) > 0 {
		t.Errorf("the error is %v, want ErrHostNotAllowed and a request without material", err)
	}
	request.Host = "API.example.test"
	if err := client.Apply(request, newDecoration()); err != nil {
		t.Errorf("Apply rejects a field Host in upper case: %v", err)
	}
	if err := client.Apply(&http.Request{}, newDecoration()); err == nil {
		t.Error("a request without a URL was accepted")
	}
}

func newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestApplyReplacesHeadersAndParameters(t *testing.T) {
	request := newRequest(t, "https://api.example.test/v1?z=1&key=old&a=%20x&k%65y=older&flag")
	request.Header.Set("X-Api-Key", "old")
	request.Header["x-api-KEY"] = []string{"older"}
	request.Header.Set("Accept", "text/plain")
	if err := client.Apply(request, newDecoration()); err != nil {
		t.Fatal(err)
	}
	if want := "z=1&a=%20x&flag&key=a+b%26c%3Dd"; request.URL.RawQuery != want {
		t.Errorf("the query is %q, want %q", request.URL.RawQuery, want)
	}
	if len(request.Header) != 2 || request.Header.Get("x-api-key") != "k 1" || request.Header.Get("Accept") != "text/plain" {
		t.Error("the request lacks a header, or has a header of the decoration twice")
	}
}

func TestApplyToAnEmptyRequest(t *testing.T) {
	request := newRequest(t, "https://api.example.test")
	request.Header = nil
	if err := client.Apply(request, newDecoration()); err != nil {
		t.Fatal(err)
	}
	if request.URL.RawQuery != "key=a+b%26c%3Dd" || request.Header.Get("x-api-key") != "k 1" {
		t.Error("the request lacks the decoration's header or query parameter")
	}
}

func TestApplyAcceptsOnlyAllowedHosts(t *testing.T) {
	for url, allowed := range map[string]bool{
		"https://api.example.test/":           true,
		"https://API.Example.test/":           true,
		"https://api.example.test:443/":       true,
		"https://api.example.test:8443/":      true,
		"http://127.0.0.1:8080/":              true,
		"http://[::1]:8080/":                  true,
		"https://api.example.test:444/":       false,
		"http://api.example.test/":            false,
		"http://api.example.test:443/":        false,
		"ftp://127.0.0.1:8080/":               false,
		"https://evil.test/":                  false,
		"https://api.example.test.evil.test/": false,
		"https://evil.test/api.example.test":  false,
		"https://api.example.test@evil.test/": false,
		"https://x.api.example.test/":         false,
	} {
		request := newRequest(t, url)
		err := client.Apply(request, newDecoration())
		if allowed && err != nil || !allowed && !errors.Is(err, client.ErrHostNotAllowed) {
			t.Errorf("the error for the URL %s is %v; want an allowed URL: %v", url, err, allowed)
		}
		if !allowed && (len(request.Header) > 0 || strings.Contains(request.URL.RawQuery, "key")) {
			t.Errorf("the client refuses the URL %s, but adds material to its request", url)
		}
	}
}
