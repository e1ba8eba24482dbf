package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// badCertificates returns client certificates that are rejected for different reasons. Except for
// the one with two SPIFFE IDs, each bad certificate contains the name of a caller with a grant.
func (w world) badCertificates() map[string]tls.Certificate {
	others := authtest.NewAuthority("others", time.Now())
	issue := func(by *authtest.Authority, change func(*x509.Certificate)) tls.Certificate {
		template := x509.Certificate{URIs: authtest.URIs("spiffe://example.test/granted")}
		change(&template)
		return by.Issue(template)
	}
	asIs := func(*x509.Certificate) {}
	return map[string]tls.Certificate{
		"another authority":         issue(others, asIs),
		"an authority of that name": issue(authtest.NewAuthority("clients", time.Now()), asIs),
		"one in between":            issue(others.Between("between"), asIs),
		"expired":                   issue(w.authority, longAgo),
		"not valid yet": issue(w.authority, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}),
		"for servers":   issue(w.authority, forServers),
		"two SPIFFE ID": w.fromCertificate(x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "spiffe://example.test/b")}),
	}
}

// If a call has an invalid client certificate and a valid token, the token identifies the caller.
// Without a valid token, the caller is unauthenticated, and the log contains the reason.
func TestBadCertificateBesideAGoodToken(t *testing.T) {
	w := newWorld(t)
	older := strings.Replace(w.listenTLS(), "key_file: broker.key", "key_file: broker.key, min_version: \"1.2\"", 1)
	h := w.serve(older+w.authentication()+everybody, listenTCP(t))
	good := map[string]string{"Bearer " + w.mailer.Reveal(): "token:mailer token", "Bearer " + w.mint(w.key, nil): "jwt:idp:alice jwt"}
	for name, certificate := range w.badCertificates() {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("%s/%x", name, version), func(t *testing.T) {
				h, w := h, w
				h.T, w.T = t, t
				connection := w.dialWith(h, credentials.NewTLS(w.showing(certificate, version)))
				for authorization, caller := range good {
					ctx := with(t.Context(), authorization)
					name, method, _ := strings.Cut(caller, " ")
					if err := getOver(ctx, connection); err != nil {
						t.Fatal(err)
					}
					w.wantCaller(name, method)
					if _, err := watchOver(ctx, connection); err != nil {
						t.Fatal(err)
					}
					w.wantCaller(name, method)
				}
				reason := noAuthority
				if strings.HasPrefix(t.Name(), "TestBadCertificateBesideAGoodToken/two") {
					reason = "the client certificate has more than one URI"
				}
				before := len(h.calls())
				for range 2 { // in the second round, the server already knows the certificate
					h.wantUnauthenticated(getOver(t.Context(), connection), reason)
				}
				h.eventually("the log has the reason", func() bool { // there are also lines about watches that end
					return slices.ContainsFunc(h.calls()[before:], func(l line) bool {
						return l["message"] == reason && fmt.Sprint(l["tried"]) == "[mutual_tls]"
					})
				})
				_, err := watchOver(t.Context(), connection)
				h.wantUnauthenticated(err, reason)
				h.wantUnauthenticated(getOver(with(t.Context(), "Bearer a.b.c"), connection), badToken)
			})
		}
	}
}

// showing returns the TLS settings of a client that always sends the given certificate, even if the
// server does not list its authority.
func (w world) showing(certificate tls.Certificate, version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: authtest.Pool(w.authority), ServerName: "localhost", MinVersion: version, MaxVersion: version,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
}

// Large certificates make the handshake fail if no trusted authority has signed them. Equally large
// certificates of a trusted authority are accepted.
func TestLargeUnsignedCertificates(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	var attributes []pkix.AttributeTypeAndValue
	for range 101 {
		attributes = append(attributes, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "a"})
	}
	templates := map[string]x509.Certificate{
		"names":   {URIs: authtest.URIs(slices.Repeat([]string{"a:b"}, 101)...), DNSNames: []string{"a.test"}},
		"subject": {Subject: pkix.Name{ExtraNames: attributes}, DNSNames: []string{"a.test"}},
		"bytes":   {DNSNames: []string{"a.test", strings.Repeat("a", 60) + strings.Repeat("."+strings.Repeat("b", 60), 150)}},
	}
	others := authtest.NewAuthority("others", time.Now())
	for name, template := range templates {
		before := len(h.log.lines(t, "a handshake failed"))
		ctx := with(context.Background(), "Bearer "+w.mailer.Reveal())
		if err := getOver(ctx, w.dial(h, others.Issue(template))); err == nil {
			t.Errorf("the handshake with %s succeeds", name)
		}
		if got := h.awaitLine("a handshake failed", before); got["message"] != noAuthority {
			t.Errorf("after the handshake with %s, the log has %v", name, got)
		}
		if err := getOver(ctx, w.dial(h, w.fromCertificate(template))); err != nil {
			t.Errorf("a call with a signed certificate (%s) fails: %v", name, err)
		}
	}
}
