package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// speaking starts a server that sends the same text on each connection.
func speaking(t *testing.T, text string) string {
	t.Helper()
	listener := newListener(t)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(text))
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return listener.Addr().String()
}

// TestWrongAddresses calls addresses where no broker listens. The printed explanation must say what
// kind of server listens at the address, and must not quote an internal error of gRPC.
func TestWrongAddresses(t *testing.T) {
	t.Setenv(variable("address"), "")
	plain := httptest.NewServer(http.NotFoundHandler())
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct {
		args []string
		want string
	}{
		"HTTP":              {[]string{"--address", hostOf(plain)}, `the server does not speak gRPC: the reply is not HTTP/2\n  Use the port of listen\.grpc: this port may belong to listen\.http, or to another program\.\n$`},
		"HTTPS without TLS": {[]string{"--address", hostOf(secure)}, `(the server did not reply: the connection was closed|the server uses TLS: .*)\n  .*--tls`},
		"HTTPS":             {[]string{"--address", hostOf(secure), "--tls"}, `(the broker's certificate is not trusted|the server uses TLS, but not gRPC)`},
		"HTTP with TLS":     {[]string{"--address", hostOf(plain), "--tls"}, `the server does not use TLS: .*\n  .* leave out --tls`},
		"another program":   {[]string{"--address", speaking(t, "SSH-2.0-x\r\n")}, `the server does not speak gRPC: the reply is not HTTP/2\n  Use the port of listen\.grpc`},
		"an alert of TLS":   {[]string{"--address", speaking(t, "\x15\x03\x01\x00\x02\x02\x46"), "--timeout", "3s"}, `the server uses TLS: the reply is a TLS alert\n  Add --tls`},
		"no listener":       {[]string{"--address", "127.0.0.1:1"}, `nothing listens there: connection refused\n  Start a broker with 'broker serve', or give a broker's address`},
		"no socket":         {[]string{"--address", "unix://" + folder + "/none"}, `the socket does not exist: no such file or directory\n  Start a broker`},
		"a file":            {[]string{"--address", "unix://" + file}, `nothing listens there: connection refused\n  Start a broker`},
		"an unknown host":   {[]string{"--address", "broker..invalid:1", "--tls"}, `the host name cannot be resolved: lookup broker\.\.invalid.*: no such host\n  Check --address`},
	} {
		wait := "1s" // health tries again because a broker may be starting
		if strings.HasPrefix(one.want, "the server") {
			wait = "10s"
		}
		for _, command := range [][]string{{"get", "pendo", "--timeout", "10s"}, {"health", "--timeout", wait}} {
			stdout, stderr, code := invoke(t, append(command, one.args...)...)
			if code != exitProblem || stdout != "" || !regexp.MustCompile(one.want).MatchString(stderr) {
				t.Errorf("%s, %s: the exit code is %d, and the output is\n%s\nwant the exit code 1 and the output %s", name, command[0], code, stderr, one.want)
			}
			for _, inside := range []string{"desc =", "rpc error", "balancer", "transport:", "http2:", "frame", "dial "} {
				if strings.Contains(stderr, inside) {
					t.Errorf("%s, %s: the explanation quotes %q:\n%s", name, command[0], inside, stderr)
				}
			}
		}
	}
}

func hostOf(server *httptest.Server) string { return server.Listener.Addr().(*net.TCPAddr).String() }

// TestUnexpectedArguments passes arguments that the commands do not accept, such as a file name
// without --config.
func TestUnexpectedArguments(t *testing.T) {
	for line, want := range map[string]string{
		"serve broker.yaml":              `"broker serve" takes no argument, but got "broker.yaml"; name the configuration file with --config FILE`,
		"check broker.yaml":              `"broker check" takes no argument, but got "broker.yaml"; name the configuration file with --config FILE`,
		"version now":                    `"broker version" takes no argument, but got "now"`,
		"token nope":                     `"broker token" has no command "nope"; it has: new`,
		"help nope":                      `"broker" has no command "nope"; it has: `,
		"serve --log-level x --config f": `must be one of debug, info, warn, error`,
	} {
		stdout, stderr, code := invoke(t, strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("broker %s: the exit code is %d, and the output is\n%s\nwant the exit code 2 and the output %s", line, code, stderr, want)
		}
	}
}
