package proxytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	"github.com/authmaterial/broker/internal/testing/processtest"
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
	w.write("ca.crt", w.authority.PEM())
	w.write("providers.crt", sim.CertificatePEM())
	w.writePair("broker", w.authority.Issue(x509.Certificate{DNSNames: []string{"broker.example.com"}}))
	w.writePair("egress-proxy", w.authority.IssueSPIFFE("spiffe://example.org/egress-proxy"))
	text := w.read("broker.yaml")
	if change != nil {
		text = change(text)
	}
	w.Config = w.write("broker.yaml", []byte(text))
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
	listeners := server.Listeners{GRPC: w.listen(), HTTP: w.listen()}
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

func (w *World) listen() net.Listener {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the broker closes the listener
	if err != nil {
		w.Fatal(err)
	}
	return listener
}

// read returns a file of deploy/proxies, with the names of this test's files in it.
func (w *World) read(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/proxies", name)) //nolint:gosec // a file of the repository
	if err != nil {
		w.Fatal(err)
	}
	return strings.NewReplacer(
		"/etc/authmaterial/", w.folder+"/",
		"/var/log/authmaterial/", w.folder+"/",
		"/etc/ssl/certs/ca-certificates.crt", filepath.Join(w.folder, "providers.crt"),
	).Replace(string(text))
}

func (w *World) write(name string, text []byte) (path string) {
	w.Helper()
	path = filepath.Join(w.folder, name)
	if err := os.WriteFile(path, text, 0o600); err != nil { //nolint:gosec // the name is one of this package
		w.Fatal(err)
	}
	return path
}

func (w *World) writePair(name string, pair tls.Certificate) {
	w.write(name+".crt", authtest.CertificatePEM(pair))
	w.write(name+".key", authtest.KeyPEM(pair))
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

// StartEnvoy starts Envoy with deploy/proxies/envoy.yaml, and returns its URL. The function `change`
// changes the text of the configuration; it may be nil.
func (w *World) StartEnvoy(change func(string) string) (url string) {
	w.Helper()
	program, err := find("ENVOY", "envoy")
	if err != nil {
		w.Fatal(err)
	}
	text := w.read("envoy.yaml")
	text = redirect(w, text, "address: broker.example.com, port_value: 50051", "address: %h, port_value: %p", w.GRPC)
	for _, host := range []string{"api.sendpulse.com", "app.pendo.io", "pulsedive.com"} {
		text = redirect(w, text, "address: "+host+", port_value: 443", "address: %h, port_value: %p", w.Simulator.Addr())
	}
	if change != nil {
		text = change(text)
	}
	return w.startProxy("port_value: 10000", "port_value: ", text, func(text string) (*processtest.Process, error) {
		file := w.write("envoy.yaml", []byte(text))
		return processtest.StartServer(exec.Command(program, //nolint:gosec,noctx // processtest ends the process
			"-c", file, "--concurrency", "2", "--use-dynamic-base-id", "-l", "info"), "starting workers", 30*time.Second)
	})
}

// StartNginx starts nginx with deploy/proxies/nginx.conf, and returns its URL. The function `change`
// changes the text of the configuration; it may be nil.
func (w *World) StartNginx(change func(string) string) (url string) {
	w.Helper()
	program, err := find("NGINX", "nginx")
	if err != nil {
		w.Fatal(err)
	}
	w.write("broker.conf", []byte(w.read("broker.conf")))
	text := redirect(w, w.read("nginx.conf"), "broker.example.com:9464", "%h:%p", w.HTTP)
	for _, host := range []string{"api.sendpulse.com", "app.pendo.io", "pulsedive.com"} {
		text = redirect(w, text, "server "+host+":443", "server %h:%p", w.Simulator.Addr())
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} { // nginx creates these folders
		text = strings.Replace(text, "access_log off;", "access_log off;\n"+kind+"_temp_path "+w.folder+"/"+kind+";", 1)
	}
	if change != nil {
		text = change(text)
	}
	return w.startProxy("listen 127.0.0.1:10080", "listen 127.0.0.1:", text, func(text string) (*processtest.Process, error) {
		file := w.write("nginx.conf", []byte(text))
		return processtest.StartServer(exec.Command(program, "-p", w.folder, "-c", file, "-e", "stderr", //nolint:gosec,noctx // processtest ends the process
			"-g", "daemon off; master_process off; error_log stderr notice; pid "+w.folder+"/nginx.pid;"), "using the", 30*time.Second)
	})
}

// startProxy starts a proxy on a free port.
func (w *World) startProxy(listen, before, text string, start func(string) (*processtest.Process, error)) (url string) {
	w.Helper()
	if strings.Count(text, listen) != 1 {
		w.Fatalf("the configuration does not have %q once", listen)
	}
	processtest.OnFreePort(w, 17000, 2000, func(port int) error {
		url = "http://127.0.0.1:" + strconv.Itoa(port)
		process, err := start(strings.Replace(text, listen, before+strconv.Itoa(port), 1))
		if err == nil {
			w.Cleanup(process.Kill)
		}
		return err
	})
	for began := time.Now(); ; { // Envoy listens a moment after its last log line
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")) //nolint:noctx // the loop ends
		if err == nil {
			_ = connection.Close()
			return url
		}
		if time.Since(began) > 10*time.Second {
			w.Fatal(err)
		}
	}
}

// redirect replaces an address in a configuration.
func redirect(t testing.TB, text, address, form, by string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(by)
	if err != nil || strings.Count(text, address) != 1 {
		t.Fatalf("the configuration does not have %q once (%v)", address, err)
	}
	return strings.Replace(text, address, strings.NewReplacer("%h", host, "%p", port).Replace(form), 1)
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
	w.write("broker.yaml", []byte(strings.NewReplacer(replacements...).Replace(string(text))))
	if err := w.Broker.Reload(w.Load); err != nil {
		w.Fatal(err)
	}
}
