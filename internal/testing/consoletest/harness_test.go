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

	"github.com/jonboulle/clockwork"
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

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// scene is a broker with a console, a store, and simulated providers.
type scene struct {
	testing.TB
	simulator *simulator.Simulator
	server    *server.Server
	address   string // of the console, without a slash at the end
	socket    string // of the gRPC listener, unless setup.tcp is set
	conn      *grpc.ClientConn
	audit     string // the path of the audit log; empty without one
	parse     func(text string) (*config.Config, error)
}

// setup changes the broker of a scene. In its texts, CONSOLE is the console's address, HOST:PORT.
type setup struct {
	// sections of the configuration, by default defaultAccess. A section `console` is added if there
	// is none.
	sections string
	listen   string // more members of the section `listen`, each with a comma before it
	scheme   string // of the console; default: http
	tcp      bool   // whether callers reach the broker over TCP instead of a Unix socket
	clock    clockwork.Clock
}

// defaultAccess lets the user of this process and the caller token:admin do everything, token:viewer
// view all credentials, and token:web use them.
func defaultAccess() string {
	return fmt.Sprintf(`authentication: {peer_user: true, tokens: [{name: viewer, sha256: %q}, {name: web, sha256: %q}, {name: admin, sha256: %q}]}
grants:
- {callers: ["uid:%d", "token:admin"], credentials: ["*"], actions: [use, manage, operate]}
- {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
- {callers: ["token:web"], credentials: ["*"], actions: [use]}
`, hashOf("viewer"), hashOf("web"), hashOf("admin"), os.Geteuid())
}

// serve starts a broker with these sections in its configuration, by default defaultAccess.
func serve(t testing.TB, sections string) *scene {
	t.Helper()
	return start(t, setup{sections: sections})
}

func start(t testing.TB, with setup) *scene {
	t.Helper()
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	consoleListener, grpcListener := listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", filepath.Join(t.TempDir(), "broker.sock"))
	socket, key := grpcListener.Addr().String(), fleetkeys.Generate()
	grpcAddress := "unix://" + socket
	if with.tcp {
		grpcListener = listen(t, "tcp", "127.0.0.1:0")
		grpcAddress = grpcListener.Addr().String()
	}
	text := fmt.Sprintf(`listen: {grpc: %q, http: "127.0.0.1:0", reflection: true%s}
store: {url: %q, keys: [{env: STORE_KEY}]}
`, grpcAddress, with.listen, "sqlite://"+filepath.Join(t.TempDir(), "broker.db"))
	s := &scene{TB: t, simulator: sim, address: cmp.Or(with.scheme, "http") + "://" + consoleListener.Addr().String(), socket: socket}
	s.parse = func(sections string) (*config.Config, error) {
		sections = text + sections
		if !strings.Contains(sections, "console:") {
			sections += "console: {address: CONSOLE}\n"
		}
		sections = strings.ReplaceAll(sections, "CONSOLE", consoleListener.Addr().String())
		return config.Parse("broker.yaml", []byte(sections), config.Options{LookupEnv: func(string) (string, bool) { return key, true }})
	}
	loaded, err := s.parse(cmp.Or(with.sections, defaultAccess()))
	if err != nil {
		t.Fatal(err)
	}
	s.server, err = server.New(server.Options{
		Config: loaded, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), TokenTransport: sim.Transport(), Clock: with.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- s.server.Run(t.Context(), server.Listeners{GRPC: grpcListener, Console: consoleListener})
	}()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s.conn = s.dial()
	return s
}

// reload replaces the sections of the configuration while the broker runs.
func (s *scene) reload(sections string) {
	s.Helper()
	if err := s.server.Reload(func() (*config.Config, error) { return s.parse(sections) }); err != nil {
		s.Fatal(err)
	}
}

// reloadWithProblem tries to replace the configuration by one that has a problem.
func (s *scene) reloadWithProblem() {
	s.Helper()
	if s.server.Reload(func() (*config.Config, error) { return s.parse("nonsense: true\n") }) == nil {
		s.Fatal("the broker has accepted a configuration with a problem")
	}
}

// dial connects to the broker's socket.
func (s *scene) dial(options ...grpc.DialOption) *grpc.ClientConn {
	s.Helper()
	conn, err := grpc.NewClient("unix://"+s.socket, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	return conn
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
func (s *scene) signedIn() *browsertest.Page {
	s.Helper()
	page := browsertest.Open(s, s.link())
	page.Click("main button")
	page.AwaitPath("/credentials")
	return page
}

// signedInWith opens the console as the caller with a static token.
func (s *scene) signedInWith(token string) *browsertest.Page {
	s.Helper()
	page := browsertest.Open(s, s.address+"/sign-in")
	page.Type("#token", tokenOf(token))
	page.Click("main button")
	page.AwaitPath("/credentials")
	return page
}
