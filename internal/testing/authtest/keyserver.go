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

// KeyServer is an https server that returns the keys of an issuer at every path.
type KeyServer struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
}

// NewKeyServer starts a server with these keys. It stops when the test ends.
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

// Does sets the answer to the next requests.
func (s *KeyServer) Does(answer http.HandlerFunc) { s.answer.Store(&answer) }

// Has sets the keys in the answer to the next requests.
func (s *KeyServer) Has(keys ...Key) {
	s.Does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(KeySet(keys...)) })
}

// Fails sets an error as the answer to the next requests. Its body contains the word canary.
func (s *KeyServer) Fails() {
	s.Does(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary", http.StatusServiceUnavailable) })
}

// Roots returns the authorities that the server's certificate is signed by.
func (s *KeyServer) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

// RootsPEM returns Roots in PEM.
func (s *KeyServer) RootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
