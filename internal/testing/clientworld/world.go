// Package clientworld tests clients of the broker in any programming language. It runs the vectors
// of clients/vectors: a scripted broker, scripted providers, and an HTTP server that tells the tests
// of a client what to do next. clients/vectors/README.md documents the protocol and the vectors.
package clientworld

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// patience is the longest time for which a world waits for something that a client must do.
const patience = 10 * time.Second

// beginning is the time of the client's clock when a vector begins.
var beginning = time.Unix(1_900_000_000, 0)

// world is the surroundings of one client during one vector.
type world struct {
	vector    *vector
	perform   performer
	board     *board
	broker    *broker
	providers map[string]*provider
	folder    string // of the files for the client
	authority *authtest.Authority
	now       time.Duration // the client's clock, since the beginning
	hasClient bool          // a client was created
	closed    bool          // the client is closed
	secrets   secrets
}

func newWorld(v *vector, perform performer) (w *world, err error) {
	w = &world{
		vector: v, perform: perform, board: newBoard(), providers: map[string]*provider{},
		authority: authtest.NewAuthority("clientworld", time.Now()),
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.folder, err = os.MkdirTemp("", "clientworld"); err != nil {
		return w, err
	}
	server := &tls.Config{Certificates: []tls.Certificate{w.authority.IssueLoopback()}, MinVersion: tls.VersionTLS12}
	for _, name := range []string{"api", "other", "secure", "secure2"} {
		config := server.Clone()
		config.NextProtos = []string{"http/1.1"}
		if !isSecure(name) {
			config = nil
		}
		if w.providers[name], err = newProvider(w.board, name, config, w); err != nil {
			return w, err
		}
	}
	if err = w.writeFiles(); err != nil {
		return w, err
	}
	switch v.Transport {
	case "tls":
	case "mtls":
		server.ClientCAs, server.ClientAuth = authtest.Pool(w.authority), tls.RequireAndVerifyClientCert
	default:
		server = nil
	}
	w.secrets.add(v.Token)
	w.broker, err = newBroker(w.board, server, v.Token)
	return w, err
}

func (w *world) close() {
	if w.broker != nil {
		w.broker.stop()
	}
	for _, p := range w.providers {
		_ = p.server.Close()
	}
	_ = os.RemoveAll(w.folder)
}

const (
	caFile, tokenFile           = "ca.pem", "token"
	certificateFile, keyFile    = "client.pem", "client-key.pem"
	firstCertificate            = "client-1"
	transportTLS, transportMTLS = "tls", "mtls"
)

func (w *world) writeFiles() error {
	if err := w.write(caFile, w.authority.PEM()); err != nil {
		return err
	}
	if err := w.writeToken(w.vector.Token); err != nil {
		return err
	}
	return w.writeCertificate(firstCertificate)
}

func (w *world) writeToken(token string) error { return w.write(tokenFile, []byte(token+"\n")) }

func (w *world) writeCertificate(name string) error {
	issued := w.authority.Issue(x509.Certificate{Subject: pkix.Name{CommonName: name}})
	if err := w.write(certificateFile, authtest.CertificatePEM(issued)); err != nil {
		return err
	}
	return w.write(keyFile, authtest.KeyPEM(issued))
}

// write replaces a file atomically.
func (w *world) write(name string, content []byte) error {
	path := w.path(name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

// run performs all steps. The error explains why the vector failed.
func (w *world) run(ctx context.Context) error {
	for i := range w.vector.Steps {
		s := &w.vector.Steps[i]
		kind, _ := s.kind()
		if err := w.step(ctx, s); err != nil {
			return fmt.Errorf("step %d (%s): %w\n%s", i+1, kind, err, w.history())
		}
	}
	if err := w.end(ctx); err != nil {
		return fmt.Errorf("the end: %w\n%s", err, w.history())
	}
	return nil
}

// end checks the texts of the client, and closes the client.
func (w *world) end(ctx context.Context) error {
	if !w.hasClient || w.closed {
		return nil
	}
	return w.closeClient(ctx)
}

// history describes what the servers have seen.
func (w *world) history() string {
	var calls, requests []string
	w.board.read(func() {
		for _, c := range w.broker.calls {
			calls = append(calls, c.String())
		}
		for _, name := range slices.Sorted(maps.Keys(w.providers)) {
			for _, r := range w.providers[name].received {
				requests = append(requests, r.String())
			}
		}
	})
	return "calls that the broker received:\n" + numbered(calls) +
		"requests that the providers received in the last step:\n" + numbered(requests)
}

// numbered returns lines with their number of repetitions, and at most maxLines of them.
func numbered(lines []string) string {
	const maxLines = 40
	var text strings.Builder
	shown := 0
	for i := 0; i < len(lines); shown++ {
		if shown == maxLines {
			fmt.Fprintf(&text, "  and %d more\n", len(lines)-i)
			break
		}
		same := i
		for same < len(lines) && lines[same] == lines[i] {
			same++
		}
		fmt.Fprintf(&text, "  %d × %s\n", same-i, lines[i])
		i = same
	}
	return text.String()
}

// violation returns an error if a server saw what no client may do.
func (w *world) violation() (err error) {
	w.board.read(func() {
		if len(w.broker.violations) > 0 {
			err = fmt.Errorf("the broker saw: %s", strings.Join(w.broker.violations, "; "))
			return
		}
		for _, p := range w.providers {
			for _, r := range p.received {
				if leak := w.secrets.leaked(r); leak != "" {
					err = fmt.Errorf("the provider %s received material that it must not get: %s", p.name, leak)
					return
				}
			}
		}
	})
	return err
}

// serve has the broker serve states from now on, and push them to open streams.
func (w *world) serve(states map[string]state) {
	if len(states) > 0 {
		w.broker.serve(w.items(states), true, true)
	}
}

// items converts states to the API's form.
func (w *world) items(states map[string]state) map[string]*authmaterialv1.WatchAuthDecorationsResponse {
	all := map[string]*authmaterialv1.WatchAuthDecorationsResponse{}
	for ids, s := range states {
		for _, id := range expandIDs(ids) {
			all[id] = w.item(id, s)
		}
	}
	return all
}
