package egress_test

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authmaterial/broker/internal/egress"
)

// proxy is an HTTP proxy that connects to the same server for every request.
type proxy struct {
	listener net.Listener
	target   string
	status   string

	mu    sync.Mutex
	hosts []string // the host names of all CONNECT requests
}

func newProxy(t *testing.T, target, status string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, status: status}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return p
}

func (p *proxy) url() *url.URL {
	return &url.URL{Scheme: "http", Host: p.listener.Addr().String(), User: url.UserPassword("u", "proxy-password")}
}

func (p *proxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hosts
}

func (p *proxy) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	p.mu.Lock()
	p.hosts = append(p.hosts, request.Host)
	p.mu.Unlock()
	_, _ = io.WriteString(conn, "HTTP/1.1 "+p.status+"\r\n\r\n")
	upstream, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(upstream, reader)
		_ = upstream.Close()
	})
	_, _ = io.Copy(conn, upstream)
	_ = conn.Close()
	copying.Wait()
}

// TestProxy checks that a proxy may have a private address, that the proxy receives and resolves
// the host name, and that TLS hides the request from the proxy.
func TestProxy(t *testing.T) {
	server := newProvider(t, nil)
	through := newProxy(t, server.Listener.Addr().String(), "200 OK")
	names := newNames(t, loopback)
	transport := newTransport(t, egress.Options{RootCAs: server.roots(), Resolver: names.resolver(), Proxy: http.ProxyURL(through.url())})
	if body, err := get(t.Context(), t, transport, server.location()); body != "token" {
		t.Errorf("%q, %v", body, err)
	}
	if hosts := through.asked(); len(hosts) != 1 || !strings.HasPrefix(hosts[0], "example.com:") {
		t.Errorf("the proxy received requests for %v", hosts)
	}
	if names.questions() != 0 {
		t.Error("the name was resolved by the broker")
	}
	transport = newTransport(t, egress.Options{Proxy: http.ProxyURL(through.url())})
	if _, err := get(t.Context(), t, transport, server.location()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the server behind the proxy has a certificate of an unknown authority, and the error is %v", err)
	}
}

// TestProxyThatIsGone checks that a request never goes directly to its host if the chosen proxy
// cannot be reached.
func TestProxyThatIsGone(t *testing.T) {
	server := newProvider(t, nil)
	asked := 0
	transport := newTransport(t, egress.Options{
		RootCAs: server.roots(), Resolver: newNames(t, loopback).resolver(),
		Proxy: func(*http.Request) (*url.URL, error) {
			if asked++; asked == 1 {
				return &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, nil
			}
			return nil, nil
		},
	})
	if _, err := get(t.Context(), t, transport, server.location()); err == nil || server.connections.Load() != 0 {
		t.Errorf("%d connections, %v", server.connections.Load(), err)
	}
}

// TestProxyVariables runs this test binary as a child process for each case, because net/http reads
// the proxy variables only once per process.
func TestProxyVariables(t *testing.T) {
	server := newProvider(t, nil)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		variable, except string
		want             string
		proxied          bool
	}{
		"HTTPS_PROXY":          {variable: "HTTPS_PROXY", want: "token", proxied: true},
		"https_proxy":          {variable: "https_proxy", want: "token", proxied: true},
		"HTTP_PROXY":           {variable: "HTTP_PROXY", want: "refused"},
		"NO_PROXY, the host":   {variable: "HTTPS_PROXY", except: "example.com", want: "refused"},
		"NO_PROXY, all":        {variable: "HTTPS_PROXY", except: "*", want: "refused"},
		"NO_PROXY, the domain": {variable: "HTTPS_PROXY", except: ".com", want: "refused"},
		"NO_PROXY, another":    {variable: "HTTPS_PROXY", except: "example.org", want: "token", proxied: true},
	} {
		t.Run(name, func(t *testing.T) {
			through := newProxy(t, server.Listener.Addr().String(), "200 OK")
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
			child.Env = append(os.Environ(), "CHILD_URL="+server.location(), "SSL_CERT_FILE="+roots,
				"HTTPS_PROXY=", "HTTP_PROXY=", "https_proxy=", "http_proxy=", "no_proxy=", "NO_PROXY="+test.except,
				test.variable+"="+through.url().String())
			out, err := child.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "child: "+test.want) {
				t.Errorf("%v: %s", err, out)
			}
			if proxied := len(through.asked()) > 0; proxied != test.proxied {
				t.Errorf("the request went through the proxy: %v, want %v", proxied, test.proxied)
			}
		})
	}
}

// TestChild is the part of TestProxyVariables that runs in the child process: a request with
// default options, except for the resolver.
func TestChild(t *testing.T) {
	location := os.Getenv("CHILD_URL")
	if location == "" {
		t.Skip("TestProxyVariables runs it")
	}
	body, err := get(t.Context(), t, egress.NewTransport(egress.Options{Resolver: newNames(t, loopback).resolver()}), location)
	switch {
	case errors.Is(err, egress.ErrAddressRefused):
		body = "refused"
	case err != nil:
		t.Fatal(err)
	}
	_, _ = io.WriteString(os.Stdout, "child: "+body+"\n")
}
