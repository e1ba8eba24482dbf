package authtest

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// KeyServer is an https server that answers each request, for any path, with the key set of an
// issuer.
type KeyServer struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
}

// NewKeyServer starts a server that publishes the given keys until the test ends.
func NewKeyServer(t testing.TB, keys ...Key) *KeyServer {
	t.Helper()
	s := &KeyServer{}
	s.Has(keys...)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		(*s.answer.Load())(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// Requests returns the number of requests so far.
func (s *KeyServer) Requests() int64 { return s.requests.Load() }

// Does makes the server answer the next requests with the given handler.
func (s *KeyServer) Does(answer http.HandlerFunc) { s.answer.Store(&answer) }

// Has replaces the keys that the server publishes.
func (s *KeyServer) Has(keys ...Key) {
	s.Does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(KeySet(keys...)) })
}

// Fails makes the server answer each further request with an error status, and the word "canary" in
// the body.
func (s *KeyServer) Fails() {
	s.Does(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusServiceUnavailable) })
}

// Roots returns a pool with the authority that signs the server's certificate.
func (s *KeyServer) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

// RootsPEM returns the certificate in Roots as PEM.
func (s *KeyServer) RootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
