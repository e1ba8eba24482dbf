package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
)

// materialOn returns the names of the parts of a request that contain the key of the provider acme.
func materialOn(r *http.Request) (places []string) {
	if r.Header.Get("Authorization") == "Bearer "+acmeSecret {
		places = append(places, "bearer")
	}
	if r.Header.Get("X-Acme-Key") == acmeSecret {
		places = append(places, "header")
	}
	if keys := r.URL.Query()["key"]; len(keys) == 1 && keys[0] == acmeSecret {
		places = append(places, "query")
	}
	return places
}

// `redirect` answers requests to /start with a redirect to the URL in the request header To, and
// all others with status 200. If the request has the header Echo, the request's query is added to
// the Location header.
func redirect(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/start" {
		return
	}
	to := r.Header.Get("To")
	if r.Header.Get("Echo") != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func TestTransportChecksEachRedirect(t *testing.T) {
	for name, redirected := range map[string]struct {
		to, sentTo string
	}{
		"same host":          {"https://api.example.test/end", "provider"},
		"relative":           {"/end", "provider"},
		"another host":       {"https://other.example.test/end", "stranger"},
		"another port":       {"https://api.example.test:8443/end", "stranger"},
		"https to http":      {"http://api.example.test/end", "stranger"},
		"http on 443":        {"http://api.example.test:443/end", "nobody, because the provider expects TLS"},
		"a name that begins": {"https://api.example.test.evil.test/end", "stranger"},
		"userinfo":           {"https://api.example.test@evil.test/end", "stranger"},
	} {
		for _, method := range []string{"bearer", "header", "query"} {
			for _, echo := range []string{"", "yes"} {
				t.Run(name+", "+method+", echo "+echo, func(t *testing.T) {
					h := newHosts(t, redirect)
					request := newRequest(t, "https://api.example.test/start?page=1")
					request.Header.Set("To", redirected.to)
					request.Header.Set("Echo", echo)
					response, err := h.http(method).Do(request)
					if err == nil {
						_ = response.Body.Close()
					}
					if err != nil {
						t.Errorf("the error is %v, want none", err)
					}
					if want := map[bool]int{true: 1}[redirected.sentTo == "stranger"]; len(h.strange) != want {
						t.Errorf("hosts other than the provider got %d requests, want %d", len(h.strange), want)
					}
					for _, r := range h.strange {
						if text, err := url.QueryUnescape(r); err != nil || strings.Contains(r+text, "canary") {
							t.Errorf("a request to another host contains the key (%v)", err)
						}
					}
					if want := map[bool]int{true: 2, false: 1}[redirected.sentTo == "provider"]; len(h.provider) != want {
						t.Errorf("the provider got %d requests, want %d", len(h.provider), want)
					}
					for _, r := range h.provider {
						if on := materialOn(r); len(on) != 1 || on[0] != method {
							t.Errorf("the request for %s contains the key in these parts: %v; want %s", r.URL.Path, on, method)
						}
					}
				})
			}
		}
	}
}

// TestTransportChecksEachRedirectForMaterial checks redirects of a provider that puts the key
// into the Location header, which must be deleted if the key cannot be removed from it.
func TestTransportChecksEachRedirectForMaterial(t *testing.T) {
	once := url.QueryEscape(acmeSecret)
	for name, to := range map[string]string{
		"nested":            "https://login.other.test/?next=" + url.QueryEscape("/start?key="+once),
		"nested twice":      "https://login.other.test/?to=" + url.QueryEscape("/?next="+url.QueryEscape("/start?key="+once)),
		"fragment":          "https://login.other.test/#key=" + once,
		"fragment as it is": "https://login.other.test/#" + acmeSecret,
		"path":              "https://login.other.test/" + url.PathEscape(acmeSecret) + "/end",
		"renamed":           "https://login.other.test/?token=" + once,
		"another case":      "https://login.other.test/?KEY=" + once,
		"bad escape":        "https://login.other.test/?off=100%&token=" + once,
		"lower case":        "https://login.other.test/?token=" + strings.ToLower(once),
		"same host":         "/end?next=" + url.QueryEscape("/start?key="+once),
		"not a URL":         "https://login.other.test:port/?key=" + once,
	} {
		for _, method := range []string{"bearer", "header", "query"} {
			t.Run(name+", "+method, func(t *testing.T) {
				h := newHosts(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusFound)
				})
				response, err := h.http(method).Do(newRequest(t, "https://api.example.test/start"))
				if err != nil {
					t.Fatalf("the error is %v, want none", err)
				}
				_ = response.Body.Close()
				if location := response.Header.Get("Location"); response.StatusCode != http.StatusFound || location != "" {
					t.Errorf("the answer is %d with Location %q, want 302 without a Location", response.StatusCode, location)
				}
				if len(h.provider) != 1 || len(h.strange) > 0 {
					t.Errorf("the provider got %d requests, want 1; other hosts got %v, want none", len(h.provider), h.strange)
				}
			})
		}
	}
}

// TestTransportKeepsRedirectsWithValuesOfTheURL checks that a Location header that contains values
// of the decoration is kept if the caller's own URL contains the same values, because such values
// are not secret.
func TestTransportKeepsRedirectsWithValuesOfTheURL(t *testing.T) {
	h := newHosts(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/end" {
			http.Redirect(w, r, "https://api.example.test/end?of="+url.QueryEscape(acmeSecret), http.StatusFound)
		}
	})
	response, err := h.http("header").Do(newRequest(t, "https://api.example.test/"+url.PathEscape(acmeSecret)))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || len(h.provider) != 2 {
		t.Errorf("the answer has status %d after %d requests, want 200 after 2", response.StatusCode, len(h.provider))
	}
}

// `wrapping` is a RoundTripper that sends requests with an http.Client, and wraps the errors of the
// http.Client.
type wrapping struct{ *http.Client }

func (w wrapping) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.Do(r)
	if err != nil {
		return nil, fmt.Errorf("wrapped: %w", err)
	}
	return response, nil
}

func TestTransportUnwrapsErrorsWithTheURL(t *testing.T) {
	h := newHosts(t, func(http.ResponseWriter, *http.Request) {})
	broken := errors.New("broken")
	h.base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, broken }
	base := wrapping{&http.Client{Transport: wrapping{&http.Client{Transport: h.base}}}}
	response, err := h.client.Transport("query", base).RoundTrip(newRequest(t, "https://api.example.test/"))
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "canary") {
		t.Errorf("the error is %v, want the error of the connection without the text of the key", err)
	}
}

// TestTransportRetriesPastAStalledBody checks that a request is sent again although the body of
// the rejected response never ends.
func TestTransportRetriesPastAStalledBody(t *testing.T) {
	rejected := false
	h := newHosts(t, func(w http.ResponseWriter, r *http.Request) {
		if rejected {
			return
		}
		rejected = true
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	response, err := h.http("token").Do(newRequest(t, "https://api.example.test/").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the answer is %d, want 200", response.StatusCode)
	}
}

func TestTransportDoesNotChangeTheRequest(t *testing.T) {
	h := newHosts(t, func(http.ResponseWriter, *http.Request) {})
	request := newRequest(t, "https://api.example.test/?key=mine")
	request.Header.Set("Authorization", "mine")
	for _, method := range []string{"bearer", "header", "query"} {
		response, err := h.http(method).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.Request != request {
			t.Error("the field Request of the response is not the caller's request")
		}
	}
	if request.URL.RawQuery != "key=mine" || len(request.Header) != 1 || request.Header.Get("Authorization") != "mine" {
		t.Error("the caller's request was changed")
	}
	if len(h.provider) != 3 || h.broker.count["GetAuthDecoration"] != 3 {
		t.Errorf("the provider got %d requests, and the broker got the calls %v; want 3 requests and 3 calls", len(h.provider), h.broker.count)
	}
}

// `closing` is a request body that remembers whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportRejects(t *testing.T) {
	h := newHosts(t, func(http.ResponseWriter, *http.Request) {})
	for name, one := range map[string]struct {
		credential, url string
		is              error
		code            codes.Code
	}{
		"another host":  {"header", "https://other.example.test/", client.ErrHostNotAllowed, codes.Unknown},
		"no https":      {"header", "http://api.example.test/", client.ErrHostNotAllowed, codes.Unknown},
		"an unknown ID": {"no-such-one", "https://api.example.test/", nil, codes.NotFound},
	} {
		body := &closing{Reader: strings.NewReader("text")}
		request := newRequest(t, one.url)
		request.Method, request.Body = http.MethodPost, body
		response, err := h.http(one.credential).Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if status.Code(errors.Unwrap(err)) != one.code || one.is != nil && !errors.Is(err, one.is) || !body.closed {
			t.Errorf("%s: the error is %v, and the request's body is closed: %v", name, err, body.closed)
		}
	}
	if len(h.provider)+len(h.strange) > 0 {
		t.Error("a request was sent, want none")
	}
}

// TestTransportReportsOnce checks providers that reject the first material, all material or none.
func TestTransportReportsOnce(t *testing.T) {
	again := func() io.Reader { return strings.NewReader("text") }
	once := func() io.Reader { return io.MultiReader(strings.NewReader("text")) }
	for name, one := range map[string]struct {
		credential string
		rejects    int
		body       func() io.Reader
		requests   int
		status     int
		reports    int
	}{
		"a token":                           {"token", 1, nil, 2, 200, 1},
		"a token, with a body":              {"token", 1, again, 2, 200, 1},
		"a token, with a body that is read": {"token", 1, once, 1, 401, 1},
		"every token":                       {"token", 9, nil, 2, 401, 1},
		"a static key":                      {"header", 9, again, 1, 401, 1},
		"nothing":                           {"token", 0, again, 1, 200, 0},
	} {
		t.Run(name, func(t *testing.T) {
			left := one.rejects
			h := newHosts(t, func(w http.ResponseWriter, _ *http.Request) {
				if left--; left >= 0 {
					w.WriteHeader(http.StatusUnauthorized)
				}
				_, _ = io.WriteString(w, "answer")
			})
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.test/", nil)
			if one.body != nil {
				request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.test/", one.body())
			}
			if err != nil {
				t.Fatal(err)
			}
			response, err := h.http(one.credential).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, err := io.ReadAll(response.Body); err != nil || string(text) != "answer" || response.StatusCode != one.status {
				t.Errorf("the answer has status %d and the body %q (%v); want status %d", response.StatusCode, text, err, one.status)
			}
			if len(h.provider) != one.requests || h.broker.count["ReportRejection"] != one.reports {
				t.Errorf("the provider got %d requests, and the broker got %d reports; want %d and %d", len(h.provider), h.broker.count["ReportRejection"], one.requests, one.reports)
			}
			for i, body := range h.bodies {
				if one.body != nil && body != "text" {
					t.Errorf("request %d has the body %q", i, body)
				}
			}
			if len(h.provider) == 2 && h.provider[0].Header.Get("Authorization") == h.provider[1].Header.Get("Authorization") {
				t.Error("the request was repeated with the same token")
			}
		})
	}
}
