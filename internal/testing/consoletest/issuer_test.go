package consoletest_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// issuer is an OpenID Connect issuer over TLS. It signs everybody in as the subject alice, with the
// group operators.
type issuer struct {
	*httptest.Server
	url    string
	caFile string
	key    authtest.Key

	mu    sync.Mutex
	codes map[string]url.Values // the parameters of the request for each code that is not used yet
	fault fault
}

// fault changes what an issuer does. The zero value changes nothing.
type fault struct {
	claims authtest.Claims // of the ID token, in addition to the right ones
	key    *authtest.Key   // signs the ID token
	state  string          // in the address that leads back to the console
	code   string          // as `state`
	down   bool            // the issuer answers everything with 503
}

const (
	clientID     = "console"
	clientSecret = "the-secret-of-the-console"
)

// newIssuer starts an issuer whose host is localhost, which is another site than 127.0.0.1.
func newIssuer(t testing.TB) *issuer {
	t.Helper()
	authority := authtest.NewAuthority("issuer", time.Now())
	i := &issuer{key: authtest.NewEC("key-1"), codes: map[string]url.Values{}, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(i.caFile, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	routes.HandleFunc("GET /authorize", i.authorize)
	routes.HandleFunc("POST /token", i.token)
	routes.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(authtest.KeySet(i.key)) })
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.now().down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		routes.ServeHTTP(w, r)
	}))
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	i.TLS = &tls.Config{Certificates: []tls.Certificate{authority.IssueLoopback()}}
	i.StartTLS()
	t.Cleanup(i.Close)
	i.url = strings.Replace(i.URL, "127.0.0.1", "localhost", 1)
	return i
}

// does sets the fault of the issuer from now on.
func (i *issuer) does(what fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = what
}

func (i *issuer) now() fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fault
}

func (i *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer": i.url, "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token", "jwks_uri": i.url + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{i.key.Algorithm},
	})
}

// authorize shows a page with a link that leads back to the console.
func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	if asked.Get("response_type") != "code" || asked.Get("client_id") != clientID || asked.Get("code_challenge_method") != "S256" ||
		len(asked.Get("code_challenge")) != 43 || asked.Get("nonce") == "" || asked.Get("scope") != "openid groups" {
		http.Error(w, "a parameter is missing or wrong", http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	back, code := url.Values{"state": {asked.Get("state")}, "code": {rand.Text()}}, i.fault.code
	i.codes[back.Get("code")] = asked
	if i.fault.state != "" {
		back.Set("state", i.fault.state)
	}
	if code != "" {
		back.Set("code", code)
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprintf(w, `<title>Issuer</title><a id="consent" href="%s">Sign in as alice</a>`, html.EscapeString(asked.Get("redirect_uri")+"?"+back.Encode()))
}

// token exchanges a code for an ID token, once.
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	asked, known := i.codes[r.PostFormValue("code")]
	delete(i.codes, r.PostFormValue("code"))
	proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	if id != clientID || secret != clientSecret || !known || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") ||
		authtest.Encode(proof[:]) != asked.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error": "invalid_grant"}`))
		return
	}
	now, key := time.Now(), i.key
	if i.fault.key != nil {
		key = *i.fault.key
	}
	claims := authtest.Claims{
		"iss": i.url, "sub": "alice", "aud": clientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"nonce": asked.Get("nonce"), "groups": []string{"operators"},
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "id_token": key.Mint(nil, claims.With(i.fault.claims)),
	})
}
