package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// newServerOf returns a server that does not listen yet.
func newServerOf(w world, more string) harness {
	w.Helper()
	return newServer(w.T, func(o *server.Options) {
		sim, err := simulator.New()
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = sim.Close() })
		if o.Config, err = w.load(sim, more); err != nil {
			w.Fatal(err)
		}
	})
}

func listenEverywhere(t *testing.T) net.Listener {
	t.Helper()
	return listen(t, config.Address{Network: "tcp", Address: "0.0.0.0:0", Remote: true}, 0)
}

func local(listener net.Listener) string {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return net.JoinHostPort("127.0.0.1", port)
}

// ask sends a request to the HTTP server, over TLS if a certificate authority to trust is given.
func (w world) ask(h harness, path string, trusted *authtest.Authority, authorization string, certificates ...tls.Certificate) (code int, header http.Header, body string) {
	w.Helper()
	scheme, transport := "http", &http.Transport{DisableKeepAlives: true}
	if trusted != nil {
		scheme = "https"
		transport.TLSClientConfig = &tls.Config{RootCAs: authtest.Pool(trusted), ServerName: "localhost", Certificates: certificates}
	}
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, scheme+"://"+local(h.http)+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

func (w world) scrape(h harness, trusted *authtest.Authority) string {
	w.Helper()
	code, _, text := w.ask(h, "/metrics", trusted, "")
	if code != http.StatusOK {
		w.Fatalf("/metrics answers %d", code)
	}
	return text
}

// TestMetricsBeyondThisMachine requests every HTTP path from a listener that other machines can
// reach.
func TestMetricsBeyondThisMachine(t *testing.T) {
	w := newWorld(t)
	const everywhere = `grpc: "0.0.0.0:0", http: "0.0.0.0:0", `
	h := newServerOf(w, strings.Replace(w.all(), "listen: {", "listen: {"+everywhere, 1))
	h.grpc, h.http = listenEverywhere(t), listenEverywhere(t)
	h.conn = w.dial(h)
	h.serveBoth()
	prometheus := w.authority.IssueSPIFFE("spiffe://example.test/prometheus")
	stranger := authentication.GenerateToken()
	foreign := authtest.NewAuthority("other", time.Now()).IssueSPIFFE("spiffe://example.test/x")

	// From here on, the configuration in use has a problem, which only authenticated callers may
	// see.
	if err := h.server.Reload(func() (*config.Config, error) { return nil, errors.New("broken") }); err == nil {
		t.Fatal("a reload that must fail returns no error")
	}
	for name, test := range map[string]struct {
		authorization string
		certificates  []tls.Certificate
		known         bool
	}{
		"nobody":                   {"", nil, false},
		"a certificate":            {"", []tls.Certificate{prometheus}, true},
		"a static token":           {"Bearer " + w.mailer.Reveal(), nil, true},
		"a JWT":                    {"Bearer " + w.mint(w.key, nil), nil, true},
		"an unknown token":         {"Bearer " + stranger.Reveal(), nil, false},
		"an expired JWT":           {"Bearer " + w.mint(w.key, authtest.Claims{"exp": time.Now().Add(-time.Hour).Unix()}), nil, false},
		"a password":               {"Basic YWRtaW46YWRtaW4=", nil, false},
		"another authority":        {"", []tls.Certificate{foreign}, false},
		"another CA, with a token": {"Bearer " + w.mailer.Reveal(), []tls.Certificate{foreign}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := w
			w.T = t
			code, header, text := w.ask(h, "/metrics", w.authority, test.authorization, test.certificates...)
			switch {
			case test.known && (code != http.StatusOK || !strings.Contains(text, "authmaterial_build_info")):
				t.Errorf("/metrics answers %d", code)
			case !test.known && (code != http.StatusUnauthorized || header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(text, "authmaterial_")):
				t.Errorf("/metrics answers %d %q", code, text)
			}
			if code, _, text := w.ask(h, "/livez", w.authority, test.authorization, test.certificates...); code != http.StatusOK || text != "ok\n" {
				t.Errorf("/livez answers %d %q", code, text)
			}
			code, _, text = w.ask(h, "/readyz", w.authority, test.authorization, test.certificates...)
			if code != http.StatusOK || strings.Contains(text, "configuration") != test.known {
				t.Errorf("/readyz answers %d %q", code, text)
			}
		})
	}
	w.keys.Fails()
	unheard := authtest.NewEC("unheard-of")
	if code, _, text := w.ask(h, "/metrics", w.authority, "Bearer "+w.mint(unheard, nil)); code == http.StatusOK || strings.Contains(text, "authmaterial_") {
		t.Errorf("while the issuer's keys cannot be fetched, /metrics answers %d", code)
	}
	if err := reflect(t.Context(), w.dial(h, prometheus)); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection ends with %v, want Unimplemented", err)
	}
}

func reflect(ctx context.Context, connection *grpc.ClientConn) error {
	stream, err := grpc_reflection_v1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	// If Send fails, Recv returns the reason.
	_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	_, err = stream.Recv()
	return err
}

// On a loopback address, requests for metrics need no authentication, even if gRPC calls do.
func TestMetricsOfThisMachine(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	if err := h.server.Reload(func() (*config.Config, error) { return nil, errors.New("broken") }); err == nil {
		t.Fatal("a reload that must fail returns no error")
	}
	w.scrape(h, w.authority)
	if code, _, text := w.ask(h, "/readyz", w.authority, ""); code != http.StatusOK || !strings.Contains(text, "configuration") {
		t.Errorf("/readyz answers %d %q", code, text)
	}
}

func TestInsecureAllowRemote(t *testing.T) {
	w := newWorld(t)
	for more, code := range map[string]int{"": http.StatusOK, w.tokens(): http.StatusUnauthorized} {
		h := newServerOf(w, "\nlisten: {grpc: \"0.0.0.0:0\", http: \"0.0.0.0:0\", insecure_allow_remote: true, reflection: true}\n"+more)
		h.grpc, h.http = listenEverywhere(t), listenEverywhere(t)
		h.serveBoth()
		if got, _, _ := w.ask(h, "/metrics", nil, ""); got != code {
			t.Errorf("/metrics answers %d, want %d", got, code)
		}
		if err := reflect(with(t.Context(), "Bearer "+w.mailer.Reveal()), h.conn); err != nil {
			t.Errorf("reflection, which the configuration enables, ends with %v", err)
		}
	}
}

func TestWarningsOfExposure(t *testing.T) {
	w := newWorld(t)
	const (
		local     = "callers are not authenticated: every user of this machine gets the secrets; a Unix socket limits them to one user"
		plainText = "INSECURE: without TLS, secrets and callers' credentials can be read on the network"
		anybody   = "INSECURE: callers are not authenticated: everybody on the network gets the secrets"
		metrics   = "INSECURE: metrics can be read on the network without TLS or by everybody"
		group     = "callers need no grant: every user in the group of the Unix socket gets the secrets"
	)
	for name, test := range map[string]struct {
		more string
		want []string
	}{
		"nothing":            {"", []string{local}},
		"a socket":           {"\nlisten: {grpc: \"unix:///run/x\"}\n", nil},
		"tokens":             {w.tokens(), nil},
		"safe":               {strings.Replace(w.all(), "listen: {", `listen: {grpc: ":1", http: ":2", `, 1), nil},
		"the switch":         {"\nlisten: {grpc: \":1\", http: \":2\", insecure_allow_remote: true}\n", []string{plainText, anybody, metrics}},
		"no encryption":      {"\nlisten: {grpc: \":1\", insecure_allow_remote: true}\n" + w.tokens(), []string{plainText}},
		"nobody is known":    {"\nlisten: {grpc: \":1\", insecure_allow_remote: true, tls: {certificate_file: broker.pem, key_file: broker.key}}\n", []string{anybody}},
		"metrics":            {"\nlisten: {grpc: \"unix:///run/x\", http: \":1\", insecure_allow_remote: true}\n", []string{metrics}},
		"a group":            {"\nlisten: {grpc: \"unix:///run/x\", socket_mode: \"0660\"}\n", []string{group}},
		"a group and grants": {"\nlisten: {grpc: \"unix:///run/x\", socket_mode: \"0660\"}\n" + everybody, nil},
		"sockets and a user": {"\nauthentication: {peer_user: true}\n" + everybody, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := w
			w.T = t
			h := newServerOf(w, test.more)
			defer h.server.Stop(t.Context())
			h.server.WarnOfExposure()
			log := h.log.String()
			for _, warning := range []string{local, plainText, anybody, metrics, group} {
				wanted := false
				for _, text := range test.want {
					wanted = wanted || text == warning
				}
				if strings.Contains(log, warning) != wanted {
					t.Errorf("the log has the warning %q: %v, want %v", warning, !wanted, wanted)
				}
			}
		})
	}
}
