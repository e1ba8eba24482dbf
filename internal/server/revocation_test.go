package server_test

import (
	"strings"
	"testing"
)

// When static tokens, issuers or certificate authorities are removed from the configuration, grants
// to their callers may remain: the reload succeeds, with warnings.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	const grants = "\ngrants: [{callers: [\"token:mailer\", \"jwt:idp:alice\", \"spiffe://example.test/*\"], credentials: [key-of-board]}]\n"
	spiffe := w.authority.IssueSPIFFE("spiffe://example.test/mailer")
	lists := w.authentication()
	withoutTokens := strings.Replace(lists, "tokens: ["+staticToken("mailer", w.mailer)+"]", "tokens: []", 1)
	before, issuers, _ := strings.Cut(lists, "  jwt:")
	_, after, _ := strings.Cut(issuers, "  tokens:")
	withoutIssuers := before + "  tokens:" + after
	withoutCAs := strings.Replace(w.listenTLS(), ", client_ca_file: clients.pem", "", 1)
	for name, test := range map[string]struct {
		after                   string
		token, jwt, certificate bool // kinds of evidence that the reload removes
		refusal, warning        string
	}{
		"token":       {after: w.listenTLS() + withoutTokens, token: true, refusal: nobody, warning: "there is no token of this name in authentication.tokens: the list is empty"},
		"issuer":      {after: w.listenTLS() + withoutIssuers, jwt: true, refusal: nobody, warning: "there is no issuer of this name in authentication.jwt: the list is empty"},
		"authorities": {after: withoutCAs + lists, certificate: true, refusal: nobody, warning: "there is no listen.tls.client_ca_file for client certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w
			w.T = t
			h := w.serve(w.listenTLS()+lists+grants, listenTCP(t))
			plainly, certified := w.dial(h), w.dial(h, spiffe)
			calls := []struct {
				taken bool
				call  func() error
			}{
				{test.token, func() error { return getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), plainly) }},
				{test.jwt, func() error { return getOver(with(t.Context(), "Bearer "+w.mint(w.key, nil)), plainly) }},
				{test.certificate, func() error { return getOver(t.Context(), certified) }},
			}
			for _, c := range calls {
				if err := c.call(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.reload(h, test.after+grants); err != nil {
				t.Fatal(err)
			}
			for i, c := range calls {
				if err := c.call(); c.taken {
					h.wantUnauthenticated(err, test.refusal)
				} else if err != nil {
					t.Errorf("a call with evidence %d, which is still accepted, fails: %v", i, err)
				}
			}
			if log := h.log.String(); !strings.Contains(log, test.warning) {
				t.Errorf("the log does not contain %q:\n%s", test.warning, log)
			}
		})
	}
	t.Run("grants", func(t *testing.T) {
		w := w
		w.T = t
		h := w.serve(w.listenTLS()+lists+grants, listenTCP(t))
		connection := w.dial(h)
		if err := w.reload(h, w.listenTLS()+lists+"\ngrants: [{callers: [\"token:mailer\"], credentials: [key-of-bored]}, {callers: [], credentials: [key-of-board]}]\n"); err != nil {
			t.Fatal(err)
		}
		if err := getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), connection); err == nil {
			t.Error("a caller that was removed from a grant can still use the grant")
		}
	})
}
