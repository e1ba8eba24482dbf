package main

import (
	"bytes"
	"crypto/tls"
	nethttp "net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// trusted contains the flags that make a command check the broker's certificate.
const trusted = "--tls-ca ca.pem"

// withClient contains the flags in `trusted`, and those for a client certificate. A caller with
// this certificate has a grant for the credential pendo.
const withClient = trusted + " --tls-cert client.pem --tls-key client.key"

// TestSecuredBroker calls a broker that requires authentication with a certificate, a token, or
// both.
func TestSecuredBroker(t *testing.T) {
	s := newSecured(t)
	address, _ := s.serve(listenTLS("broker"))
	_, port, _ := strings.Cut(address, ":")
	for _, flags := range []string{
		withClient,
		trusted + " --token-file token",
		withClient + " --token-file token",
		withClient + " --token-file other-token", // one valid proof is enough
		"--tls " + withClient,
		trusted + " --token-file token --tls-server-name localhost",
		trusted + " --token-file token --address localhost:" + port,
	} {
		args := append([]string{"--address", address}, strings.Fields(flags)...)
		if got := succeed(t, append([]string{"get", "pendo"}, args...)...); !strings.HasPrefix(got, "credential    pendo\n") {
			t.Errorf("%s: %s", flags, got)
		}
		if got := succeed(t, append([]string{"health"}, args...)...); got != "serving\n" {
			t.Errorf("health %s: %s", flags, got)
		}
	}
	if got := succeed(t, "health", "--address", address, "--tls-ca", "ca.pem"); got != "serving\n" {
		t.Errorf("the command health without a token or certificate printed %s", got)
	}
}

// TestProbesOfASecuredBroker runs the Kubernetes probes of docs/deploying.md, which have no token
// or client certificate. One probe checks that the broker's certificate contains a name that
// differs from the address. The other probe uses HTTPS, and does not check the certificate.
func TestProbesOfASecuredBroker(t *testing.T) {
	s := newSecured(t)
	address, http := s.serve(listenTLS("named"))
	if got := succeed(t, "health", "--address", address, "--tls-ca", "ca.pem", "--tls-server-name", "broker.test", "--timeout", "3s"); got != "serving\n" {
		t.Errorf("health: %s", got)
	}
	kubelet := &nethttp.Client{Transport: &nethttp.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{"/livez", "/readyz"} {
		request, err := nethttp.NewRequestWithContext(t.Context(), nethttp.MethodGet, "https://"+http+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := kubelet.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != nethttp.StatusOK {
			t.Errorf("%s: %s (%v)", path, response.Status, err)
		}
	}
}

// TestConnectionProblems checks the advice that get and health print if they cannot connect.
func TestConnectionProblems(t *testing.T) {
	s := newSecured(t)
	address, http := s.serve(listenTLS("broker"))
	expired, _ := s.serve(listenTLS("expired"))
	future, _ := s.serve(listenTLS("future"))
	named, _ := s.serve(listenTLS("named"))
	plain, plainHTTP := s.serve("")
	for name, test := range map[string]struct{ address, flags, want string }{
		"an authority that is not trusted": {address, "--tls-ca other-ca.pem", `the broker's certificate is not trusted: certificate signed by unknown authority\n  .* --tls-ca FILE or BROKER_TLS_CA\.\n$`},
		"the system's authorities":         {address, "--tls", `the broker's certificate is not trusted: `},
		"another name":                     {address, trusted + " --tls-server-name broker.test", `the broker's certificate is for another name: certificate is valid for localhost, not broker\.test\n  .* --tls-server-name NAME`},
		"another name than the address":    {named, trusted, `the broker's certificate is for another name: cannot validate certificate for 127\.0\.0\.1`},
		"an expired certificate":           {expired, trusted, `the broker's certificate is not valid: .* is after \S+\n  Install a new certificate`},
		"a certificate of tomorrow":        {future, trusted, `the broker's certificate is not valid: .* is before \S+\n`},
		"plain text to TLS":                {address, "", `the server did not reply: the connection was closed\n  If the broker has listen\.tls, add --tls`},
		"TLS to plain text":                {plain, trusted, `the server does not use TLS: .*\n  .* leave out --tls`},
		"the other port":                   {http, trusted, `the server uses TLS, but not gRPC: .*\n  Use the port of listen\.grpc`},
		"the other port, TLS to plain":     {plainHTTP, trusted, `the server does not use TLS: .*\n`},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--address", test.address}, strings.Fields(test.flags)...)
			wantProblem(t, append([]string{"get", "pendo"}, args...), "^no connection to the broker on "+regexp.QuoteMeta(test.address)+": "+test.want)
			timeout := patience.String()
			if test.flags == "" {
				timeout = "2s" // health tries again because a broker may be starting
			}
			wantProblem(t, append([]string{"health", "--timeout", timeout}, args...), "^no connection to the broker on "+regexp.QuoteMeta(test.address)+": "+test.want)
		})
	}
}

// TestServersThatRequireCertificates calls gRPC servers that, unlike a broker, reject clients
// without a valid certificate during the TLS handshake.
func TestServersThatRequireCertificates(t *testing.T) {
	s := newSecured(t)
	for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		listener := newListener(t)
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
			MaxVersion: number, Certificates: []tls.Certificate{s.authority.IssueLoopback()},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authtest.Pool(s.authority),
		})))
		go server.Serve(listener) //nolint:errcheck // the error of Serve does not matter: if serving fails, the test's calls fail too
		t.Cleanup(server.Stop)
		for flags, want := range map[string]string{
			trusted: `the server (requires a client certificate: certificate required\n  Send a client|ended the TLS handshake: handshake failure\n)`,
			trusted + " --tls-cert foreign.pem --tls-key foreign.key": `the server rejects the client certificate: .*\n  Use a client certificate that is valid now`,
			trusted + " --tls-cert old.pem --tls-key old.key":         `the server rejects the client certificate: .*\n  Use a client certificate`,
			withClient: `the server on \S+ is not a broker`,
		} {
			args := append([]string{"get", "pendo", "--address", listener.Addr().String()}, strings.Fields(flags)...)
			t.Run(version+" "+flags, func(t *testing.T) { wantProblem(t, args, want) })
		}
	}
}

// TestRejectedCallers checks the errors for callers that are not authenticated or have no grant.
func TestRejectedCallers(t *testing.T) {
	s := newSecured(t)
	address, _ := s.serve(listenTLS("broker"))
	asks, _ := s.serve("tls: {certificate_file: broker.pem, key_file: broker.key}")
	plain, _ := s.serve("")
	const unknown, denied = `^%s: CALLER_UNAUTHENTICATED: .*\n  `, `^pulsedive: ACCESS_DENIED: .*\n  .*broker check --explain CALLER ID`
	for name, test := range map[string]struct{ address, id, flags, want string }{
		"nothing":                   {address, "pendo", trusted, unknown + "Identify yourself with --token-file FILE, or"},
		"nothing, and no TLS":       {plain, "pendo", "", unknown + "Identify yourself"},
		"another token":             {address, "pendo", trusted + " --token-file other-token", unknown + "The broker does not accept the token"},
		"another token, and no TLS": {plain, "pendo", "--token-file other-token", unknown + "The broker does not accept the token"},
		"a certificate that the broker does not ask for": {asks, "pendo", withClient, unknown + "The broker does not accept the client certificate: .*listen\\.tls\\.client_ca_file"},
		"a client of another authority":                  {address, "pendo", trusted + " --tls-cert foreign.pem --tls-key foreign.key", unknown + "The broker does not accept the client certificate: .*listen\\.tls\\.client_ca_file"},
		"an expired client":                              {address, "pendo", trusted + " --tls-cert old.pem --tls-key old.key", unknown + "The broker does not accept the client certificate"},
		"both, and neither is valid":                     {asks, "pendo", withClient + " --token-file other-token", unknown + "The broker accepts neither"},
		"a certificate without a grant":                  {address, "pulsedive", withClient, denied},
		"a token without a grant":                        {address, "pulsedive", trusted + " --token-file token", denied},
		"another caller's certificate":                   {address, "pulsedive", trusted + " --tls-cert nobody.pem --tls-key nobody.key", denied},
		"a token on loopback, no grant":                  {plain, "pulsedive", "--token-file token", denied},
		"a token file that is not there":                 {address, "pendo", trusted + " --token-file none", `^read the token for the broker: none does not exist\n$`},
		"a token file of other content":                  {address, "pendo", trusted + " --token-file ca.pem", `^read the token for the broker: ca\.pem contains characters that are not allowed in a token\n$`},
		"an authority that is not there":                 {address, "pendo", "--tls-ca none.pem", `^read the authorities to trust: none\.pem does not exist\n$`},
		"an authority that is none":                      {address, "pendo", "--tls-ca client.key", `^read the authorities to trust: client\.key:1: expected a CERTIFICATE, found PRIVATE KEY: only certificates belong in this file\n$`},
		"another's key":                                  {address, "pendo", trusted + " --tls-cert client.pem --tls-key nobody.key", `^read the client certificate with its key: nobody\.key:1: .*does not belong to the first certificate`},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"get", test.id, "--address", test.address}, strings.Fields(test.flags)...)
			wantProblem(t, args, strings.ReplaceAll(test.want, "%s", test.id))
		})
	}
}

// TestConnectionFromTheEnvironment sets every environment variable for the connection to a broker,
// and overrides some of them with flags.
func TestConnectionFromTheEnvironment(t *testing.T) {
	s := newSecured(t)
	address, _ := s.serve(listenTLS("broker"))
	plain, _ := s.serve("")
	for name, value := range map[string]string{
		"BROKER_ADDRESS": address, "BROKER_TLS": "true", "BROKER_TLS_CA": "ca.pem", "BROKER_TLS_SERVER_NAME": "localhost",
		"BROKER_TLS_CERT": "client.pem", "BROKER_TLS_KEY": "client.key",
	} {
		t.Setenv(name, value)
	}
	succeed(t, "get", "pendo")
	succeed(t, "health")
	wantProblem(t, []string{"get", "pendo", "--tls-ca", "other-ca.pem"}, "the broker's certificate is not trusted")
	t.Setenv("BROKER_TOKEN_FILE", "token")
	succeed(t, "get", "pendo", "--tls=false", "--address", plain)
	t.Setenv("BROKER_TLS_CERT", "")
	t.Setenv("BROKER_TLS_KEY", "")
	succeed(t, "get", "pendo")
	t.Setenv("BROKER_TLS", "perhaps")
	if _, stderr, code := invoke(t, "get", "pendo"); code != exitUsage || !strings.HasPrefix(stderr, "broker: the environment variable BROKER_TLS: ") {
		t.Errorf("the exit code is %d\n%s", code, stderr)
	}
}

// TestTokenFromStandardInput checks that the token can be the output of a command such as `vault
// read -field=token`.
func TestTokenFromStandardInput(t *testing.T) {
	s := newSecured(t)
	address, _ := s.serve(listenTLS("broker"))
	for input, want := range map[string]int{s.token.Reveal() + "\n": exitOK, "": exitProblem, "two tokens\n": exitProblem} {
		root := newRoot()
		root.SetIn(strings.NewReader(input))
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{"get", "pendo", "--address", address, "--tls-ca", "ca.pem", "--token-file", "-"})
		err := root.Execute()
		if (err == nil) != (want == exitOK) {
			t.Errorf("with a token of %d bytes, the command returned the error %v", len(input), err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "read the token for the broker: ") {
			t.Errorf("with a token of %d bytes, the command returned the error %v", len(input), err)
		}
	}
}

// TestSocketNeedsNoTLS checks that the environment variables for TLS have no effect on a connection
// to a Unix socket, and that the token is sent over that connection.
func TestSocketNeedsNoTLS(t *testing.T) {
	s := newSecured(t)
	folder, err := os.MkdirTemp("", "get") // the path of t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := "unix://" + filepath.Join(folder, "broker.sock")
	s.serveOn(socket, listenTLS("broker"))
	t.Setenv("BROKER_ADDRESS", socket)
	t.Setenv("BROKER_TLS_CA", "none.pem")
	succeed(t, "health")
	succeed(t, "get", "pendo", "--token-file", "token")
	wantProblem(t, []string{"get", "pendo"}, `^pendo: ACCESS_DENIED: `) // the caller is the user of this process
}

func TestConnectionWrongUsage(t *testing.T) {
	newSecured(t)
	for flags, want := range map[string]string{
		"--address broker.test:50051":                        "--address: must be a loopback address, because the connection is not encrypted; use --tls",
		"--address 192.0.2.1:50051 --token-file token":       "--address: must be a loopback address, because the connection is not encrypted",
		"--address broker.test:1 --tls=false":                "--address: must be a loopback address",
		"--address broker.test:1 --tls=false --tls-ca x":     "--tls=false and --tls-ca cannot be used together",
		"--address unix:///run/x --tls":                      "brokers do not use TLS at a Unix socket: leave --tls out",
		"--address unix:///run/x --tls-cert a --tls-key b":   "brokers do not use TLS at a Unix socket: leave --tls-key out",
		"--tls-cert client.pem":                              "--tls-cert and --tls-key must be used together",
		"--address broker.test:1 --tls --tls-key client.pem": "--tls-cert and --tls-key must be used together",
		"--token secret":                                     "unknown flag: --token",
	} {
		for _, command := range [][]string{{"get", "pendo"}, {"health"}} {
			stdout, stderr, code := invoke(t, append(command, strings.Fields(flags)...)...)
			if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "broker: "+want) {
				t.Errorf("the exit code of broker %s %s is %d\n%s", command[0], flags, code, stderr)
			}
		}
	}
}
