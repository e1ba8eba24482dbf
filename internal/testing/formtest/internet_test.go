package formtest_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// internet stands for every host on the internet. The broker reaches it through a proxy, so that
// requests have the real names of hosts and real TLS. It records the bytes of each request, and
// answers with prepared bytes. A host whose name begins with mtls requires a client certificate.
type internet struct {
	t         *testing.T
	authority *authtest.Authority // of servers and clients
	client    tls.Certificate     // a client's certificate with its key
	listener  net.Listener

	mu      sync.Mutex
	answers []string // the next ones, in order
	sent    []string
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{t: t, authority: authtest.NewAuthority("internet", time.Now()), listener: listener}
	n.client = n.authority.IssueSPIFFE("spiffe://example.com/broker")
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				n.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return n
}

// transport returns the transport of a broker on this internet.
func (n *internet) transport() *egress.Transport {
	proxy := &url.URL{Scheme: "http", Host: n.listener.Addr().String()}
	return egress.NewTransport(egress.Options{RootCAs: authtest.Pool(n.authority), Proxy: http.ProxyURL(proxy)})
}

// serve answers one request, which comes through the proxy or directly to the loopback address.
func (n *internet) serve(conn net.Conn) {
	raw, request, err := receive(conn)
	if err != nil {
		return
	}
	if request.Method == http.MethodConnect {
		target := request.Host
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		secured := tls.Server(conn, n.certificateOf(target))
		if raw, request, err = receive(secured); err != nil {
			return // the broker refused the server, or the server refused the broker
		}
		if strings.TrimSuffix(target, ":443") != request.Host {
			n.t.Errorf("a request to %s has the host %s", target, request.Host)
		}
		conn = secured
	}
	_, _ = io.WriteString(conn, n.record(raw))
	if secured, ok := conn.(*tls.Conn); ok {
		_ = secured.CloseWrite()
	}
}

func (n *internet) certificateOf(target string) *tls.Config {
	name, _, _ := net.SplitHostPort(target)
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{n.authority.Issue(x509.Certificate{DNSNames: []string{name}})}}
	if strings.HasPrefix(name, "mtls") {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, authtest.Pool(n.authority)
	}
	return config
}

// receive returns the bytes of one request, and the parsed request.
func receive(conn io.Reader) (raw string, request *http.Request, err error) {
	var read bytes.Buffer
	request, err = http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &read)))
	if err != nil {
		return "", nil, err
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return "", nil, err
	}
	return read.String(), request, nil
}

// record returns the answer to a request.
func (n *internet) record(raw string) (answer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, raw)
	if len(n.answers) == 0 {
		return answerOf("500\n\nno request was expected")
	}
	answer, n.answers = n.answers[0], n.answers[1:]
	return answerOf(answer)
}

// requests returns the requests so far.
func (n *internet) requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.sent...)
}

// answerOf returns the bytes of an answer, from a text with a status, headers, an empty line, and the
// body.
func answerOf(text string) string {
	head, body, _ := strings.Cut(text, "\n\n")
	return "HTTP/1.1 " + strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n") + "\r\nConnection: close\r\n\r\n" + strings.TrimSuffix(body, "\n")
}
