package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// A log line about a failed authentication contains the client's address and the methods, and
// quotes neither tokens nor certificates.
func TestFailedProofsAreLogged(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	other := authtest.NewAuthority("other", time.Now())
	foreign, twice := other.IssueSPIFFE("spiffe://example.test/canary"), w.fromCertificate(x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "spiffe://example.test/b")})
	static, jwt := authentication.GenerateToken().Reveal(), w.mint(w.key, authtest.Claims{"aud": "canary"})
	for _, test := range []struct {
		name, line, tried, message string
		certificates               []tls.Certificate
		authorization              []string
	}{
		{"nothing", "call", "[]", nobody, nil, nil},
		{"a password", "call", "[]", nobody, nil, []string{"Basic canary"}},
		{"no token", "call", "[jwt]", badToken, nil, []string{"Bearer canary"}},
		{"a JWT", "call", "[jwt]", "the bearer token is for another audience", nil, []string{"Bearer " + jwt}},
		{"a static token", "call", "[token]", unknown, nil, []string{"Bearer " + static}},
		{"a certificate", "call", "[mutual_tls]", "the client certificate has more than one URI", []tls.Certificate{twice}, nil},
		{"a JWT and a certificate", "call", "[jwt mutual_tls]", badToken, []tls.Certificate{twice}, []string{"Bearer canary"}},
		{"a certificate of another authority", "call", "[mutual_tls]", noAuthority, []tls.Certificate{foreign}, nil},
	} {
		before := len(h.log.lines(t, test.line))
		if err := getOver(with(t.Context(), test.authorization...), w.dial(h, test.certificates...)); err == nil {
			t.Fatalf("%s is accepted", test.name)
		}
		got := h.awaitLine(test.line, before)
		if address, _ := got["address"].(string); !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("after a failed %s, the logged address is %q", test.name, address)
		}
		if fmt.Sprint(got["tried"]) != test.tried || got["message"] != test.message || got["code"] != "Unauthenticated" || got["level"] != "INFO" {
			t.Errorf("after a failed %s, the log line is %v", test.name, got)
		}
	}
	for _, quoted := range []string{"canary", static, jwt, jwt[len(jwt)-20:]} {
		if strings.Contains(h.log.String(), quoted) {
			t.Errorf("the log quotes %q", quoted)
		}
	}
	const refused = "authmaterial_authentications_total{method=\"mutual_tls\",result=\"refused\"} "
	if metrics := w.scrape(h, w.authority); !strings.Contains(metrics, refused+"3\n") {
		t.Error("the metrics do not count the rejected certificates of three calls")
	}
}

// awaitLine waits until the log has more than `others` lines with the given message, because a
// client may receive its answer before the server logs the call.
func (h harness) awaitLine(message string, others int) map[string]any {
	h.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if lines := h.log.lines(h.T, message); len(lines) > others {
			return lines[others]
		}
		if time.Now().After(deadline) {
			h.Fatalf("the log has only %d lines with the message %q", others, message)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Each of a client's first hundred failed calls has a log line. Once a minute, a line has the
// number of suppressed lines.
func TestFailedCallsDoNotFillTheLog(t *testing.T) {
	inScene(t, func(b *scene) {
		fail := func(n int) {
			b.Helper()
			for range n {
				_, err := b.client.GetAuthDecoration(b.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "none"})
				if status.Code(err) != codes.NotFound {
					b.Fatal(err)
				}
			}
		}
		wantLines := func(want int, told ...float64) {
			b.Helper()
			if got := len(b.log.lines(b.T, "call")); got != want {
				b.Errorf("the log has %d lines, want %d", got, want)
			}
			var left []float64
			for _, l := range b.log.lines(b.T, "failed-call log lines suppressed") {
				left = append(left, l["left_out"].(float64))
				if l["last_address"] != "bufconn" || l["level"] != "WARN" {
					b.Errorf("the log line is %v", l)
				}
			}
			if !slices.Equal(left, told) {
				b.Errorf("the log reports %v suppressed lines, want %v", left, told)
			}
		}
		fail(250)
		wantLines(100)
		if !strings.Contains(b.scrape(), "\nauthmaterial_call_log_left_out_total 150\n") {
			b.Error("the metrics do not count the suppressed lines")
		}
		b.pass(59 * time.Second)
		wantLines(100)
		b.pass(time.Second)
		wantLines(100, 150)
		fail(61) // each second allows one more line
		wantLines(160, 150)
		b.server.Stop(b.Context())
		wantLines(160, 150, 1)
	})
}
