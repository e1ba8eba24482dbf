// Package hostiletest attacks a `broker serve` process with clients that violate the protocol,
// over TCP and over TLS.
package hostiletest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/logtest"
	"github.com/authmaterial/broker/internal/testing/processtest"
)

// patience is the longest time that tests wait for a condition.
const patience = time.Minute

var binary string

// TestMain builds the broker without the race detector, which needs additional memory.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "hostiletest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary = filepath.Join(folder, "broker")
	build := exec.CommandContext(context.Background(), "go", "build", "-race=false", "-buildvcs=false", "-o", binary, "github.com/authmaterial/broker/cmd/broker")
	if said, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the broker: %v\n%s", err, said)
		return 1
	}
	return m.Run()
}

// broker is a `broker serve` process with one credential.
type broker struct {
	*testing.T
	variant    variant
	dialled    atomic.Int64 // number of connections that tests have opened
	process    *processtest.Process
	pid        int
	grpc, http string
	tls        *tls.Config
	token      string // token of a caller that follows the protocol
	hostile    string // token of the attacker, who has a grant and separate limits; empty if the attacker has no token
	scraper    *http.Client
}

// start runs a broker with TLS and the default limits until the test ends.
func start(t *testing.T, v variant) *broker {
	t.Helper()
	folder := t.TempDir()
	b := &broker{T: t, variant: v}
	authority := authtest.NewAuthority("hostile", time.Now())
	service, stranger := authentication.GenerateToken(), authentication.GenerateToken()
	certificate := authority.IssueLoopback()
	b.write(folder, "broker.pem", string(authtest.CertificatePEM(certificate)))
	b.write(folder, "broker.key", string(authtest.KeyPEM(certificate)))
	b.tls = &tls.Config{RootCAs: authtest.Pool(authority), ServerName: "localhost"}
	b.token = service.Reveal()
	if v.proved {
		b.hostile = stranger.Reveal()
	}
	config := "listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0', tls: {certificate_file: broker.pem, key_file: broker.key}}\n" +
		"authentication: {tokens: [{name: service, sha256: " + authentication.HashToken(service).String() + "}, " +
		"{name: stranger, sha256: " + authentication.HashToken(stranger).String() + "}]}\n" +
		"grants: [{callers: ['token:*'], credentials: ['*']}]\n"
	config += "credentials: [{id: key, provider: pendo, auth_method: api_key, values: {api_key: {value: " + strings.Repeat("k", 1000) + "}}}]\n"
	b.launch(b.write(folder, "broker.yaml", config))
	b.scraper = &http.Client{Transport: &http.Transport{TLSClientConfig: b.settings("http/1.1")}, Timeout: patience}
	t.Cleanup(b.scraper.CloseIdleConnections)
	return b
}

func (b *broker) write(folder, name, text string) (path string) {
	b.Helper()
	path = filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *broker) launch(config string) {
	b.Helper()
	command := exec.CommandContext(context.Background(), binary, "serve", "--config", config)
	log := new(logtest.Log)
	command.Stderr = log
	var err error
	if b.process, err = processtest.Start(command); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(b.process.Kill)
	b.pid = command.Process.Pid
	serving := regexp.MustCompile(`msg=serving .*grpc=(\S+) http=(\S+)`)
	b.await("the broker to serve", func() bool {
		found := serving.FindStringSubmatch(log.String())
		if found != nil {
			b.grpc, b.http = found[1], found[2]
		}
		return found != nil
	})
}

func (b *broker) await(what string, is func() bool) {
	b.Helper()
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-b.process.Ended():
			b.Fatalf("the broker's process has ended: %v", b.process.State())
		case <-deadline:
			b.Fatalf("the condition %q was not true within %v", what, patience)
		}
	}
}

func (b *broker) settings(protocol string) *tls.Config {
	own := b.tls.Clone()
	own.NextProtos = []string{protocol}
	return own
}

func (b *broker) connect(address string) (net.Conn, error) {
	raw, err := b.dial(address)
	if err != nil {
		return nil, err
	}
	protocol := "h2"
	if address == b.http {
		protocol = "http/1.1"
	}
	conn := tls.Client(raw, b.settings(protocol))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// dial opens a connection for an attacker and sends nothing.
func (b *broker) dial(address string) (net.Conn, error) {
	return b.dialFrom(2+int(b.dialled.Add(1))%max(1, b.variant.addresses), address)
}

// dialFrom opens a connection from 127.0.0.1, or from a higher loopback address.
func (b *broker) dialFrom(from int, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(from))}}
	return dialer.DialContext(context.Background(), "tcp", address)
}

// `memory` returns a value from the status of the process, in bytes: the current memory use for the
// line VmRSS, and the highest one so far for VmHWM.
func (b *broker) memory(line string) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid))
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(line + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		b.Fatalf("/proc/PID/status has no line %s", line)
	}
	kib, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return kib << 10
}

// goroutines returns the broker's number of goroutines, or -1 if it has reached its limit of
// connections.
func (b *broker) goroutines() int {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://"+b.http+"/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := b.scraper.Do(request)
	if err != nil {
		return -1 // the broker has reached its limit of connections
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	found := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindSubmatch(text)
	if found == nil {
		return -1
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}
