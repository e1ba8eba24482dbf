package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

const (
	credentialService = "authmaterial.v1.CredentialService/"
	providerService   = "authmaterial.v1.ProviderService/"
)

// serveSQLite calls serveManaging with a new SQLite database.
func serveSQLite(t *testing.T, change ...func(*server.Options)) managing {
	t.Helper()
	return serveManaging(t, "  url: sqlite://"+filepath.Join(t.TempDir(), "broker.db")+"\n", change...)
}

// answered is the answer to a request over HTTP.
type answered struct {
	code   int
	header http.Header
	text   string
}

// `at` returns the value at a path of field names in a JSON answer, or "" if there is none.
func (a answered) at(path ...string) any {
	var value any
	_ = json.Unmarshal([]byte(a.text), &value)
	for _, field := range path {
		object, _ := value.(map[string]any)
		value = object[field]
	}
	if value == nil {
		return ""
	}
	return value
}

// debug returns the debugging text of the error details with the given type.
func (a answered) debug(kind string) string {
	var failed struct {
		Details []struct {
			Type  string
			Debug json.RawMessage
		}
	}
	_ = json.Unmarshal([]byte(a.text), &failed)
	for _, detail := range failed.Details {
		if detail.Type == "google.rpc."+kind {
			return string(detail.Debug)
		}
	}
	return ""
}

// post calls a method over HTTP, as curl would.
func (h harness) post(caller, method, body string, change ...func(*http.Request)) answered {
	h.Helper()
	return h.postWith(nil, caller, method, body, change...)
}

// postWith calls a method over HTTP, with TLS unless the TLS settings are nil.
func (h harness) postWith(settings *tls.Config, caller, method, body string, change ...func(*http.Request)) answered {
	h.Helper()
	request, err := http.NewRequestWithContext(h.Context(), http.MethodPost, "http://localhost/"+method, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Connect-Protocol-Version", "1")
	if caller != "" {
		request.Header.Set("Authorization", "Bearer "+tokenOf(caller))
	}
	if settings != nil {
		request.URL.Scheme = "https"
	}
	for _, apply := range change {
		apply(request)
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   settings,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, h.http.Addr().Network(), h.http.Addr().String())
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		h.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.Fatal(err)
	}
	a := answered{response.StatusCode, response.Header, string(text)}
	if detail, reason := a.debug("ErrorInfo"), a.header.Get("Authmaterial-Error-Reason"); (detail != "" || reason != "") && !strings.Contains(detail, `"reason":"`+reason+`"`) {
		h.Errorf("%s fails with the reason %q in the headers, and with the detail %s", method, reason, detail)
	}
	return a
}

// mustPost calls a method over HTTP as the administrator. The call must succeed.
func (h harness) mustPost(method, body string) answered {
	h.Helper()
	a := h.post("admin", method, body)
	if a.code != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		h.Fatalf("%s answers %d %s", method, a.code, a.text)
	}
	return a
}

const pulsediveKey = "key-of-pulsedive-7f3a"

// createBody is the body of a request that creates a credential with the given ID.
func createBody(id string) string {
	return fmt.Sprintf(`{"credentialId": %q, "values": [{"field": "api_key", "value": %q}],
		"credential": {"displayName": "Pulsedive", "provider": "pulsedive", "authMethod": "api_key"}}`, id, pulsediveKey)
}

// TestManagementOverHTTP calls every method, except those that the broker does not implement yet.
func TestManagementOverHTTP(t *testing.T) {
	m := serveSQLite(t)
	if a := m.mustPost(providerService+"ListProviders", "{}"); !strings.Contains(a.text, "pulsedive") {
		t.Errorf("ListProviders answers %s", a.text)
	}
	if a := m.mustPost(providerService+"GetProvider", `{"providerId": "pendo"}`); a.at("provider", "displayName") != "Pendo" {
		t.Errorf("GetProvider answers %s", a.text)
	}
	created := m.mustPost(credentialService+"CreateCredential", createBody("pulse"))
	etag := created.at("credential", "etag")
	if created.at("credential", "activeVersion") != 1.0 || etag == "" {
		t.Errorf("CreateCredential answers %s", created.text)
	}
	if got := m.mustMaterial("web", "pulse"); !slices.Equal(got, []string{pulsediveKey}) {
		t.Error("the created credential is not served")
	}
	for _, step := range []struct {
		method, body string // in the body, ETAG stands for the current etag
		path         []string
		want         any
	}{
		{"GetCredential", `{"credential_id": "pulse"}`, []string{"credential", "displayName"}, "Pulsedive"},
		{"UpdateCredential", `{"credential": {"credentialId": "pulse", "displayName": "New"}, "updateMask": "displayName", "etag": ETAG}`, []string{"credential", "displayName"}, "New"},
		{"CreateCredentialVersion", `{"credentialId": "pulse", "etag": ETAG, "values": [{"field": "api_key", "value": "second"}]}`, []string{"version", "version"}, 2.0},
		{"ActivateCredentialVersion", `{"credentialId": "pulse", "etag": ETAG, "version": 2, "callers": ["token:web-*"]}`, []string{"credential", "canary", "version"}, 2.0},
		{"WithdrawCanary", `{"credentialId": "pulse", "etag": ETAG}`, []string{"credential", "canary"}, ""},
		{"DestroyCredentialVersion", `{"credentialId": "pulse", "etag": ETAG, "version": 2}`, []string{"version", "state"}, "VERSION_STATE_DESTROYED"},
		{"VerifyCredential", `{"credentialId": "pulse"}`, []string{"verification", "outcome"}, "VERIFICATION_OUTCOME_REFUSED"},
		{"ExplainAccess", `{"credentialId": "pulse", "caller": "token:web"}`, []string{"allowedActions"}, []any{"use"}},
		{"DeleteCredential", `{"credentialId": "pulse", "etag": ETAG}`, []string{"credential", "credentialId"}, "pulse"},
		{"UndeleteCredential", `{"credentialId": "pulse"}`, []string{"credential", "deleteTime"}, ""},
	} {
		a := m.mustPost(credentialService+step.method, strings.ReplaceAll(step.body, "ETAG", fmt.Sprintf("%q", etag)))
		if got := a.at(step.path...); fmt.Sprint(got) != fmt.Sprint(step.want) {
			t.Errorf("%s answers %s", step.method, a.text)
		}
		if changed := a.at("credential", "etag"); changed != "" {
			etag = changed
		}
	}
	for method, want := range map[string]string{"ListCredentials": "key-of-board", "ListCredentialVersions": "VERSION_STATE_ACTIVE", "ListCredentialEvents": "undelete_credential"} {
		body := `{"credentialId": "pulse"}`
		if method == "ListCredentials" {
			body = "{}"
		}
		if a := m.mustPost(credentialService+method, body); !strings.Contains(a.text, want) {
			t.Errorf("%s answers %s", method, a.text)
		}
	}
	if _, _, metrics := m.fetch("/metrics"); !strings.Contains(metrics, `grpc_server_handled_total{grpc_code="OK",grpc_method="WithdrawCanary",grpc_service="authmaterial.v1.CredentialService",grpc_type="unary"} 1`) {
		t.Error("the metrics do not count a call over HTTP")
	}
}

// TestErrorsOverHTTP checks the codes and details of errors, and that they contain no secret.
func TestErrorsOverHTTP(t *testing.T) {
	log := new(journal)
	m := serveSQLite(t, debugLog(log))
	m.mustPost(credentialService+"CreateCredential", createBody("pulse"))
	const secret = "S3cr3t-93"
	value := func(size int) string { return strings.Repeat("x", size) }
	body := func(values string) string {
		return `{"credentialId": "more", "credential": {"displayName": "x", "provider": "spotdraft", "authMethod": "client_headers"}, "values": ` + values + `}`
	}
	for name, test := range map[string]struct {
		caller, method, body string
		status               int
		code, detail         string // the expected code, and text that the ErrorInfo or the BadRequest must contain
	}{
		"nobody":            {"", "ListCredentials", `{}`, 401, "unauthenticated", "CALLER_UNAUTHENTICATED"},
		"a stranger":        {"stranger", "ListCredentials", `{}`, 401, "unauthenticated", "CALLER_UNAUTHENTICATED"},
		"no grant":          {"viewer", "CreateCredential", createBody("new"), 403, "permission_denied", "ACCESS_DENIED"},
		"only use":          {"web", "GetCredential", `{"credentialId": "pulse"}`, 403, "permission_denied", "ACCESS_DENIED"},
		"only use, missing": {"web", "GetCredential", `{"credentialId": "missing"}`, 403, "permission_denied", "ACCESS_DENIED"},
		"missing":           {"admin", "GetCredential", `{"credentialId": "missing"}`, 404, "not_found", "CREDENTIAL_NOT_FOUND"},
		"taken":             {"admin", "CreateCredential", createBody("pulse"), 409, "already_exists", "CREDENTIAL_EXISTS"},
		"declared":          {"admin", "DeleteCredential", `{"credentialId": "key-of-board", "etag": "x"}`, 400, "failed_precondition", "CREDENTIAL_READ_ONLY"},
		"an old etag":       {"admin", "DeleteCredential", `{"credentialId": "pulse", "etag": "x"}`, 409, "aborted", "CREDENTIAL_CHANGED"},
		"missing fields":    {"admin", "CreateCredential", body(`[]`), 400, "invalid_argument", "values.client_secret"},
		"a value too large": {"admin", "CreateCredential", body(`[{"field": "client_id", "value": "` + value(65<<10) + `"}]`), 400, "invalid_argument", "values.client_id"},
		"no JSON":           {"admin", "CreateCredential", secret, 400, "invalid_argument", ""},
		"a number":          {"admin", "CreateCredential", body(`[{"field": "client_id", "value": 12393}]`), 400, "invalid_argument", ""},
		"a wrong field":     {"admin", "CreateCredential", body(`[{"` + secret + `": "x"}]`), 400, "invalid_argument", ""},
		"a wrong escape":    {"admin", "CreateCredential", body(`[{"field": "client_id", "value": "` + secret + `\q"}]`), 400, "invalid_argument", ""},
		"not UTF-8":         {"admin", "CreateCredential", body("[{\"field\": \"client_id\", \"value\": \"" + secret + "\xff\"}]"), 400, "invalid_argument", ""},
		"too large":         {"admin", "CreateCredential", body(`[{"field": "client_id", "value": "` + value(1<<20) + `"}]`), 429, "resource_exhausted", ""},
		"a stream":          {"admin", "WatchCredentialStates", `{}`, 404, "not_found", ""},
		"no method":         {"admin", "ShowSecrets", `{}`, 404, "not_found", ""},
	} {
		a := m.post(test.caller, credentialService+test.method, test.body)
		if a.code != test.status || a.at("code") != test.code || a.at("message") == "" || !strings.Contains(a.debug("ErrorInfo")+a.debug("BadRequest"), test.detail) {
			t.Errorf("%s: the answer is %d %s", name, a.code, a.text)
		}
		if (a.header.Get("WWW-Authenticate") == "Bearer") != (test.status == 401) {
			t.Errorf("%s: the header WWW-Authenticate is %q", name, a.header.Get("WWW-Authenticate"))
		}
		for _, hidden := range []string{secret, "12393", pulsediveKey, tokenOf("admin")} {
			if strings.Contains(a.text, hidden) || strings.Contains(log.String(), hidden) {
				t.Errorf("%s: the answer or the log contains %q: %s", name, hidden, a.text)
			}
		}
	}
	large := fmt.Sprintf(`[{"field": "client_id", "value": %q}, {"field": "client_secret", "value": %q}]`, value(64<<10), value(64<<10))
	m.mustPost(credentialService+"CreateCredential", body(large))
}

// serveSocket starts a server without authentication and grants, whose HTTP listener is a Unix
// socket with the given mode.
func serveSocket(t *testing.T, mode fs.FileMode) harness {
	t.Helper()
	folder := socketFolder(t)
	path := filepath.Join(folder, "http")
	text := configuration + fmt.Sprintf("listen: {http: \"unix://%s\", socket_mode: \"%04o\"}\nstore: {url: \"sqlite://%s/broker.db\", keys: [{env: STORE_KEY}]}\n", path, mode, folder)
	key := fleetkeys.Generate()
	h := newServer(t, func(o *server.Options) {
		loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(string) (string, bool) { return key, true }})
		if err != nil {
			t.Fatal(err)
		}
		o.Config = loaded
	})
	h.grpc, h.http = listenTCP(t), listen(t, unix(path), mode)
	h.serveBoth()
	return h
}

func TestManagementWithoutAuthentication(t *testing.T) {
	for mode, want := range map[fs.FileMode]int{0o600: 200, 0o660: 403, 0o666: 403} {
		h := serveSocket(t, mode)
		if a := h.post("", credentialService+"CreateCredential", createBody("pulse")); a.code != want {
			t.Errorf("over a socket with mode %04o, CreateCredential answers %d %s, want %d", mode, a.code, a.text, want)
		}
		if a := h.post("", credentialService+"ListCredentials", "{}"); a.code != 200 || !strings.Contains(a.text, "key-of-board") {
			t.Errorf("over a socket with mode %04o, ListCredentials answers %d %s", mode, a.code, a.text)
		}
		events := h.post("", credentialService+"ListCredentialEvents", `{"credentialId": "pulse"}`)
		if caller := fmt.Sprintf("uid:%d", os.Getuid()); want == 200 && !strings.Contains(events.text, caller) {
			t.Errorf("the events do not name the caller %s: %s", caller, events.text)
		}
	}
	h := serve(t) // over TCP
	if a := h.post("", credentialService+"CreateCredential", createBody("pulse")); a.code != 403 {
		t.Errorf("over TCP, CreateCredential answers %d %s", a.code, a.text)
	}
	if a := h.post("", credentialService+"ListCredentials", "{}"); a.code != 200 {
		t.Errorf("over TCP, ListCredentials answers %d %s", a.code, a.text)
	}
}

// TestManagementBeyondThisMachine calls a listener that other machines can reach.
func TestManagementBeyondThisMachine(t *testing.T) {
	w := newWorld(t)
	certificate := w.authority.Issue(x509.Certificate{DNSNames: []string{"localhost", "broker.example"}})
	w.write("broker.pem", string(authtest.CertificatePEM(certificate)))
	w.write("broker.key", string(authtest.KeyPEM(certificate)))
	client := w.authority.IssueSPIFFE("spiffe://example.test/admin")
	for _, on := range []bool{false, true} {
		listen := fmt.Sprintf(`listen: {grpc: "0.0.0.0:0", http: "0.0.0.0:0", management: %v, `, on)
		h := newServerOf(w, strings.Replace(w.all(), "listen: {", listen, 1))
		h.grpc, h.http = listenEverywhere(t), listenEverywhere(t)
		h.conn = w.dial(h)
		h.serveBoth()
		list := func(host string, certificates ...tls.Certificate) answered {
			settings := &tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "localhost", Certificates: certificates}
			return h.postWith(settings, "", credentialService+"ListCredentials", "{}", func(r *http.Request) { r.Host = host })
		}
		if !on {
			if a := list("localhost", client); a.code != 404 || !strings.Contains(a.text, "listen.management") {
				t.Errorf("without listen.management, the answer is %d %s", a.code, a.text)
			}
			continue
		}
		if a := list("localhost"); a.code != 401 {
			t.Errorf("without a client certificate, the answer is %d %s", a.code, a.text)
		}
		for host, code := range map[string]int{"localhost": 200, "broker.example:443": 200, "BROKER.EXAMPLE": 200, "127.0.0.1": 200, "other.example": 403, "broker.example.test": 403, "0.0.0.0": 403} {
			if a := list(host, client); a.code != code {
				t.Errorf("for the host %s, the answer is %d %s, want %d", host, a.code, a.text, code)
			}
		}
	}
}
