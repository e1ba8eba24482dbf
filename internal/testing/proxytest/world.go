package proxytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// World is a broker with the configuration of deploy/proxies/broker.yaml, simulated providers, and a
// folder with the certificates that the configuration files name.
type World struct {
	testing.TB

	Simulator *simulator.Simulator
	// Broker is the broker, whose configuration is loaded from the file Config.
	Broker *server.Server
	Config string
	// GRPC and HTTP are the addresses of the broker.
	GRPC, HTTP string

	folder    string
	authority *authtest.Authority
}

// New starts a broker. The function `change` changes the text of the broker's configuration; it may
// be nil.
func New(t testing.TB, change func(string) string) *World {
	t.Helper()
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	w := &World{TB: t, Simulator: sim, folder: t.TempDir(), authority: authtest.NewAuthority("proxytest", time.Now())}
	w.Write("ca.crt", string(w.authority.PEM()))
	w.Write("providers.crt", string(sim.CertificatePEM()))
	w.writePair("broker", w.authority.Issue(x509.Certificate{DNSNames: []string{"broker.example.com"}}))
	w.writePair("egress-proxy", w.authority.IssueSPIFFE("spiffe://example.org/egress-proxy"))
	text := w.Read("broker.yaml")
	if change != nil {
		text = change(text)
	}
	w.Config = w.Write("broker.yaml", text)
	w.start()
	return w
}

func (w *World) start() {
	w.Helper()
	loaded, err := w.Load()
	if err != nil {
		w.Fatal(err)
	}
	if w.Broker, err = server.New(server.Options{Config: loaded, TokenTransport: w.Simulator.Transport()}); err != nil {
		w.Fatal(err)
	}
	listeners := server.Listeners{GRPC: w.listen(loaded.Listen.GRPC), HTTP: w.listen(loaded.Listen.HTTP)}
	w.GRPC, w.HTTP = listeners.GRPC.Addr().String(), listeners.HTTP.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.Broker.Run(w.Context(), listeners) }()
	w.Cleanup(func() {
		if err := <-served; err != nil {
			w.Errorf("the broker ended with %v", err)
		}
	})
}

// Load reads the configuration file of the broker.
func (w *World) Load() (*config.Config, error) {
	return config.Load(w.Config, config.Options{LookupEnv: simulated.Environment(w.Simulator)})
}

// listen opens a Unix socket of the configuration, or a free port in place of another address.
func (w *World) listen(address config.Address) net.Listener {
	w.Helper()
	if address.Network != "unix" {
		address = config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	}
	listener, err := server.Listen(w.Context(), address, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	return listener
}

// Read returns a file of deploy/proxies, as WithPaths does.
func (w *World) Read(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/proxies", name)) //nolint:gosec // a file of the repository
	if err != nil {
		w.Fatal(err)
	}
	return w.WithPaths(string(text))
}

// WithPaths returns a text in which the paths of this test's files replace those of deploy/proxies.
func (w *World) WithPaths(text string) string {
	return strings.NewReplacer(
		"/etc/authmaterial/", w.folder+"/",
		"/var/log/authmaterial/", w.folder+"/",
		"/etc/ssl/certs/ca-certificates.crt", filepath.Join(w.folder, "providers.crt"),
	).Replace(text)
}

// Write writes a file into the folder that has the place of /etc/authmaterial.
func (w *World) Write(name, text string) (path string) {
	w.Helper()
	path = filepath.Join(w.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // the name is one of this package
		w.Fatal(err)
	}
	return path
}

func (w *World) writePair(name string, pair tls.Certificate) {
	w.Write(name+".crt", string(authtest.CertificatePEM(pair)))
	w.Write(name+".key", string(authtest.KeyPEM(pair)))
}

// ClientTLS returns the TLS settings of a caller with this SPIFFE ID, or without a certificate.
func (w *World) ClientTLS(id string) *tls.Config {
	settings := &tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "broker.example.com", MinVersion: tls.VersionTLS13}
	if id != "" {
		settings.Certificates = []tls.Certificate{w.authority.IssueSPIFFE(id)}
	}
	return settings
}

// Audit returns the records of the audit log.
func (w *World) Audit() (records []map[string]any) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.folder, "audit.jsonl"))
	if err != nil {
		w.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			w.Fatal(err)
		}
		records = append(records, record)
	}
	return records
}

// Answer is the answer of a proxy to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Get sends a request as a program that does not know the broker. The program sends its own headers,
// which are pairs of name and value.
func (w *World) Get(url string, headers ...string) Answer {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
		if strings.EqualFold(headers[i], "Host") {
			request.Host = headers[i+1]
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	return Answer{response.StatusCode, response.Header, string(body)}
}

// Dial returns a connection to the broker for a caller with this SPIFFE ID, or without a certificate.
func (w *World) Dial(id string) *grpc.ClientConn {
	w.Helper()
	connection, err := grpc.NewClient(w.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(w.ClientTLS(id))))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = connection.Close() })
	return connection
}

// ReplaceInConfig replaces texts in the broker's configuration file, as strings.NewReplacer does, and makes the broker load it.
func (w *World) ReplaceInConfig(replacements ...string) {
	w.Helper()
	text, err := os.ReadFile(w.Config)
	if err != nil {
		w.Fatal(err)
	}
	w.Write("broker.yaml", strings.NewReplacer(replacements...).Replace(string(text)))
	if err := w.Broker.Reload(w.Load); err != nil {
		w.Fatal(err)
	}
}
