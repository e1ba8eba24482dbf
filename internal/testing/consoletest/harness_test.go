// Package consoletest tests the console in a real browser, with a real broker and simulated
// providers.
package consoletest_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// scene is a broker with a console, a store, and simulated providers.
type scene struct {
	testing.TB
	simulator *simulator.Simulator
	server    *server.Server
	address   string // of the console, without a slash at the end
	conn      *grpc.ClientConn
}

// serve starts a broker. The parameter `more` is added to its configuration.
func serve(t testing.TB, more string) *scene {
	t.Helper()
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	consoleListener, grpcListener := listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", filepath.Join(t.TempDir(), "broker.sock"))
	key := fleetkeys.Generate()
	text := fmt.Sprintf(`listen: {grpc: %q, http: "127.0.0.1:0"}
store: {url: %q, keys: [{env: STORE_KEY}]}
%s
`, "unix://"+grpcListener.Addr().String(), "sqlite://"+filepath.Join(t.TempDir(), "broker.db"),
		cmp.Or(more, fmt.Sprintf(`authentication: {peer_user: true, tokens: [{name: viewer, sha256: %q}, {name: web, sha256: %q}, {name: admin, sha256: %q}]}
grants:
- {callers: ["uid:%d", "token:admin"], credentials: ["*"], actions: [use, manage, operate]}
- {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
- {callers: ["token:web"], credentials: ["*"], actions: [use]}`, hashOf("viewer"), hashOf("web"), hashOf("admin"), os.Geteuid())))
	if !strings.Contains(more, "console:") {
		text += "console: {address: " + consoleListener.Addr().String() + "}\n"
	}
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(string) (string, bool) { return key, true }})
	if err != nil {
		t.Fatal(err)
	}
	made, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), TokenTransport: sim.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- made.Run(t.Context(), server.Listeners{GRPC: grpcListener, Console: consoleListener}) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix://"+grpcListener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &scene{t, sim, made, "http://" + consoleListener.Addr().String(), conn}
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// tokenOf returns the static token of a caller.
func tokenOf(name string) string {
	return authentication.TokenPrefix + strings.Repeat(name+"-", 43)[:43]
}

func hashOf(name string) string {
	sum := sha256.Sum256([]byte(tokenOf(name)))
	return hex.EncodeToString(sum[:])
}

// link returns a link that signs in as the user of this process.
func (s *scene) link() string {
	s.Helper()
	made, err := authmaterialv1.NewConsoleServiceClient(s.conn).CreateSignInLink(s.Context(), &authmaterialv1.CreateSignInLinkRequest{})
	if err != nil {
		s.Fatal(err)
	}
	return made.GetUrl()
}

// in returns the scene for a subtest.
func (s *scene) in(t testing.TB) *scene {
	inner := *s
	inner.TB = t
	return &inner
}

// signedIn opens the console as the user of this process.
func (s *scene) signedIn(browser *browsertest.Browser) *browsertest.Page {
	s.Helper()
	page := browser.Open(s, s.link())
	page.Click("main button")
	page.AwaitPath("/credentials")
	return page
}

// decoration returns what callers get.
func (s *scene) decoration(id string) (*authmaterialv1.AuthDecoration, error) {
	answer, err := authmaterialv1.NewBrokerServiceClient(s.conn).GetAuthDecoration(s.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	return answer.GetAuthDecoration(), err
}
