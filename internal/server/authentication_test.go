package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// These are the messages about callers that cannot be identified.
const (
	nobody      = "no accepted token or client certificate was sent"
	noLonger    = "the caller's token or certificate is no longer accepted: authenticate and watch again"
	badToken    = "the bearer token is not a signed JSON Web Token"
	unknown     = "the static token is unknown"
	notYet      = "the bearer token is signed with an unknown key, and the issuer's keys were fetched a moment ago: try again later"
	noKey       = "the bearer token is signed with an unknown key"
	noAuthority = "the client certificate is not valid, or not signed by a trusted authority"
)

func (h harness) wantUnauthenticated(err error, message string) {
	h.Helper()
	h.wantError(err, codes.Unauthenticated, "CALLER_UNAUTHENTICATED", message)
}

// TestAuthenticationMethods uses every authentication method, in calls and watches, with a server
// that accepts all of them over TLS.
func TestAuthenticationMethods(t *testing.T) {
	w := newWorld(t)
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve(w.all(), listenTCP(t), func(o *server.Options) { o.Clock = clock })
	if err := getOver(with(t.Context(), "Bearer "+w.mint(w.key, nil)), w.dial(h)); err != nil { // waits until the server has fetched the issuer's keys
		t.Fatal(err)
	}
	clock.Advance(10 * time.Second) // an unknown key now makes the server fetch keys
	spiffe := w.authority.IssueSPIFFE("spiffe://example.test/mailer")
	twoURIs := w.fromCertificate(x509.Certificate{URIs: authtest.URIs("spiffe://example.test/a", "spiffe://example.test/b")})
	good, mailer := w.mint(w.key, nil), w.mailer.Reveal()
	claim := func(name string, value any) string { return w.mint(w.key, authtest.Claims{name: value}) }
	none := authtest.Unsigned("first").Mint(nil, authtest.Claims{"iss": "https://idp.test", "aud": "broker", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	for name, test := range map[string]struct {
		certificates  []tls.Certificate
		authorization []string
		caller        string // the caller's name and authentication method
		refusal       string
	}{
		"SPIFFE ID":                {[]tls.Certificate{spiffe}, nil, "spiffe://example.test/mailer mutual_tls", ""},
		"DNS name":                 {[]tls.Certificate{w.fromCertificate(x509.Certificate{DNSNames: []string{"a.test"}})}, nil, "dns:a.test mutual_tls", ""},
		"JWT":                      {nil, []string{"Bearer " + good}, "jwt:idp:alice jwt", ""},
		"static token":             {nil, []string{"bearer " + mailer}, "token:mailer token", ""},
		"JWT before certificate":   {[]tls.Certificate{spiffe}, []string{"Bearer " + good}, "jwt:idp:alice jwt", ""},
		"bad JWT, good name":       {[]tls.Certificate{spiffe}, []string{"Bearer a.b.c"}, "spiffe://example.test/mailer mutual_tls", ""},
		"bad name, good token":     {[]tls.Certificate{twoURIs}, []string{"Bearer " + mailer}, "token:mailer token", ""},
		"nothing":                  {nil, nil, "", nobody},
		"a password":               {nil, []string{"Basic YWxpY2U6cGFzcw=="}, "", nobody},
		"two URIs":                 {[]tls.Certificate{twoURIs}, nil, "", "the client certificate has more than one URI"},
		"two authorizations":       {nil, []string{"Bearer " + good, "Bearer " + good}, "", badToken},
		"no token":                 {nil, []string{"Bearer abc"}, "", badToken},
		"unknown static token":     {nil, []string{"Bearer " + authentication.GenerateToken().Reveal()}, "", unknown},
		"the hash":                 {nil, []string{"Bearer " + authentication.HashToken(w.mailer).String()}, "", badToken},
		"expired JWT":              {nil, []string{"Bearer " + claim("exp", time.Now().Unix()-31)}, "", "the bearer token has expired"},
		"for another audience":     {nil, []string{"Bearer " + claim("aud", "other")}, "", "the bearer token is for another audience"},
		"of another issuer":        {nil, []string{"Bearer " + claim("iss", "https://evil.test")}, "", "the bearer token has an issuer that is not accepted"},
		"signed by an unknown":     {nil, []string{"Bearer " + w.mint(authtest.NewEC("other"), nil)}, "", noKey},
		"signed by another":        {nil, []string{"Bearer " + w.mint(authtest.NewEC("first"), nil)}, "", "the signature of the bearer token is wrong"},
		"signed by nobody":         {nil, []string{"Bearer " + none}, "", "the bearer token is signed with an algorithm that is not accepted"},
		"signed by a known secret": {nil, []string{"Bearer " + w.mint(w.key.BySecret(string(authtest.KeySet(w.key))), nil)}, "", "the bearer token is signed with an algorithm that is not accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			h, w := h, w
			h.T, w.T = t, t
			connection := w.dial(h, test.certificates...)
			ctx := with(t.Context(), test.authorization...)
			for range 2 { // in the second round, the server already knows the identity
				err := getOver(ctx, connection)
				if test.caller == "" {
					h.wantUnauthenticated(err, test.refusal)
					_, err = watchOver(ctx, connection)
					h.wantUnauthenticated(err, test.refusal)
					continue
				}
				name, method, _ := strings.Cut(test.caller, " ")
				if err != nil {
					t.Fatal(err)
				}
				w.wantCaller(name, method)
				if _, err := watchOver(ctx, connection); err != nil {
					t.Fatal(err)
				}
				w.wantCaller(name, method)
			}
		})
	}
	other := authtest.NewAuthority("other", time.Now())
	h.wantUnauthenticated(getOver(t.Context(), w.dial(h, other.IssueSPIFFE("spiffe://example.test/mailer"))), noAuthority)
	if log := h.log.String(); strings.Contains(log, good) || strings.Contains(log, mailer) || strings.Contains(log, "eyJ") {
		t.Error("the log contains a token")
	}
}

// Callers are told to try again while an issuer's keys cannot be fetched.
func TestUnavailableKeys(t *testing.T) {
	w := newWorld(t)
	w.keys.Fails()
	h := w.serve(w.all(), listenTCP(t))
	connection := w.dial(h)
	for _, err := range []error{
		getOver(with(t.Context(), "Bearer "+w.mint(w.key, nil)), connection),
		func() error {
			_, err := watchOver(with(t.Context(), "Bearer "+w.mint(w.key, nil)), connection)
			return err
		}(),
	} {
		got := status.Convert(err)
		if got.Code() != codes.Unavailable || len(got.Details()) != 2 {
			t.Fatalf("the error is %v", err)
		}
		info, _ := got.Details()[0].(*errdetails.ErrorInfo)
		retry, _ := got.Details()[1].(*errdetails.RetryInfo)
		if info.GetReason() != "AUTHENTICATION_UNAVAILABLE" || retry.GetRetryDelay().AsDuration() <= 0 || retry.GetRetryDelay().AsDuration() > 10*time.Second {
			t.Errorf("the error's details are %v and %v", info.GetReason(), retry.GetRetryDelay().AsDuration())
		}
	}
	if err := getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), connection); err != nil {
		t.Errorf("a call with a static token fails: %v", err)
	}
	if got := h.log.String(); strings.Contains(got, w.keys.URL) || strings.Contains(got, "canary") {
		t.Errorf("the log contains text that it must not contain:\n%s", got)
	}
}

func TestNoAuthentication(t *testing.T) {
	w := newWorld(t)
	overTCP := w.serve("\naudit: {file: audit.log}\n", listenTCP(t))
	for _, authorization := range []string{"", "Bearer " + w.mailer.Reveal(), "Bearer a.b.c"} {
		if err := getOver(with(t.Context(), authorization), w.dialWith(overTCP, plain())); err != nil {
			t.Error(err)
		}
		w.wantCaller("local", "none")
	}
	overSocket := w.serve("\naudit: {file: audit.log}\n", listen(t, unix(filepath.Join(socketFolder(t), "grpc")), 0o600))
	if err := getOver(t.Context(), w.dialWith(overSocket, plain())); err != nil {
		t.Error(err)
	}
	w.wantCaller("uid:"+strconv.Itoa(os.Geteuid()), "peer_user")
}

// Unauthenticated callers over TCP have the name `local`, which grants may contain.
func TestGrantsWithoutAuthentication(t *testing.T) {
	w := newWorld(t)
	h := w.serve("\ngrants: [{callers: [local], credentials: [key-of-board]}]\n", listenTCP(t))
	connection := w.dialWith(h, plain())
	if err := getOver(t.Context(), connection); err != nil {
		t.Error(err)
	}
	_, err := authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "token-of-mail"})
	h.wantError(err, codes.PermissionDenied, "ACCESS_DENIED", "")
}

func TestUserOfASocket(t *testing.T) {
	w := newWorld(t)
	own := "uid:" + strconv.Itoa(os.Geteuid())
	socket := func() net.Listener { return listen(t, unix(filepath.Join(socketFolder(t), "grpc")), 0o666) }
	h := w.serve(w.authentication()+everybody, socket())
	connection := w.dialWith(h, plain())
	for authorization, want := range map[string]string{
		"":                             own + " peer_user",
		"Bearer a.b.c":                 own + " peer_user",
		"Bearer " + w.mailer.Reveal():  "token:mailer token",
		"Bearer " + w.mint(w.key, nil): "jwt:idp:alice jwt",
	} {
		if err := getOver(with(t.Context(), authorization), connection); err != nil {
			t.Error(err)
		}
		name, method, _ := strings.Cut(want, " ")
		w.wantCaller(name, method)
	}
	without := w.serve("\nauthentication: {peer_user: false}\n"+everybody, socket())
	without.wantUnauthenticated(getOver(t.Context(), w.dialWith(without, plain())), nobody)
}

// TestSocketOfAnotherUser connects as another user, from a separate thread of the test process.
func TestSocketOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can become another user")
	}
	const other = 4711
	w := newWorld(t)
	folder := socketFolder(t)
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	h := w.serve("\nauthentication: {}\n"+everybody, listen(t, unix(filepath.Join(folder, "grpc")), 0o666))
	connection := w.dialWith(h, plain(), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		type dialled struct {
			net.Conn
			error
		}
		result := make(chan dialled)
		go func() {
			runtime.LockOSThread() // without UnlockOSThread, the thread ends with the goroutine
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, other, other, other); errno != 0 {
				result <- dialled{nil, errno}
				return
			}
			connection, err := new(net.Dialer).DialContext(ctx, "unix", h.grpc.Addr().String())
			result <- dialled{connection, err}
		}()
		got := <-result
		return got.Conn, got.error
	}))
	if err := getOver(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	w.wantCaller(fmt.Sprintf("uid:%d", other), "peer_user")
}

func TestHealthNeedsNoAuthentication(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	connection := w.dial(h)
	answer, err := grpc_health_v1.NewHealthClient(connection).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: brokerService})
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("the health is %v (%v)", answer.GetStatus(), err)
	}
	watch, err := grpc_health_v1.NewHealthClient(connection).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: brokerService})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Errorf("a watch of the health fails: %v", err)
	}
	list := func(ctx context.Context) error {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		_, err = stream.Recv()
		return err
	}
	h.wantUnauthenticated(list(t.Context()), nobody)
	if err := list(with(t.Context(), "Bearer "+w.mailer.Reveal())); err != nil {
		t.Errorf("reflection: %v", err)
	}
}

// TestRemovedToken removes a static token from the configuration and adds it again, and both
// changes affect calls at once. The watch of the token's caller ends, and the watch of another
// caller continues.
func TestRemovedToken(t *testing.T) {
	w := newWorld(t)
	second := authentication.GenerateToken()
	tokens := func(items ...string) string {
		return "\nauthentication: {tokens: [" + strings.Join(items, ", ") + "]}\n" + everybody
	}
	both := tokens(staticToken("mailer", w.mailer), staticToken("board", second))
	h := w.serve(both, listenTCP(t))
	connection := w.dialWith(h, plain())
	asMailer, asBoard := with(t.Context(), "Bearer "+w.mailer.Reveal()), with(t.Context(), "Bearer "+second.Reveal())
	follow := func(ctx context.Context) authmaterialv1.BrokerService_WatchAuthDecorationsClient {
		t.Helper()
		stream, err := watchOver(ctx, connection)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	ofMailer, ofBoard := follow(asMailer), follow(asBoard)
	reload := func(more string) {
		t.Helper()
		if err := w.reload(h, more); err != nil {
			t.Fatal(err)
		}
	}
	reload(tokens(staticToken("board", second)))
	h.wantUnauthenticated(getOver(asMailer, connection), unknown)
	h.wantUnauthenticated(ending(t, ofMailer), noLonger)
	reload(both)
	if err := getOver(asMailer, connection); err != nil {
		t.Errorf("a call after the token was added again fails: %v", err)
	}
	ofMailer = follow(asMailer)
	reload(tokens(staticToken("renamed", w.mailer), staticToken("board", second)))
	h.wantUnauthenticated(ending(t, ofMailer), noLonger) // the watcher now has another name, and therefore other grants
	reload(tokens(staticToken("board", second)) + "# nothing else\n")
	h.server.Stop(context.Background())
	h.wantError(ending(t, ofBoard), codes.Unavailable, "SERVER_STOPPING", "")
}

// In TestWithdrawnKeys, an issuer withdraws the key that signed a token in use.
func TestWithdrawnKeys(t *testing.T) {
	w := newWorld(t)
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve(w.all(), listenTCP(t), func(o *server.Options) { o.Clock = clock })
	connection := w.dial(h)
	before := with(t.Context(), "Bearer "+w.mint(w.key, nil))
	watch, err := watchOver(before, connection)
	if err != nil {
		t.Fatal(err)
	}
	next := authtest.NewEC("second")
	// The server fetched the keys less than 10 s ago, so the call does not make it fetch them
	// again, but waits for the running request.
	if err := getOver(with(t.Context(), "Bearer "+w.mint(next, nil)), connection); err == nil {
		t.Fatal("the server accepts a key that the issuer does not have")
	}
	again := getOver(with(t.Context(), "Bearer "+w.mint(next, authtest.Claims{"sub": "another"})), connection)
	if said := status.Convert(again); said.Code() != codes.Unavailable || said.Message() != notYet || len(said.Details()) != 2 {
		t.Errorf("a call with a token whose key may be new gets %v with the details %v, want a retry delay", again, said.Details())
	}
	w.keys.Has(next)
	clock.Advance(10 * time.Second)
	if err := getOver(with(t.Context(), "Bearer "+w.mint(next, nil)), connection); err != nil {
		t.Fatal(err)
	}
	h.wantUnauthenticated(getOver(before, connection), noKey)
	h.wantUnauthenticated(ending(t, watch), noLonger)
}

// After the authority of client certificates is replaced, connections with certificates of the old
// authority are unauthenticated.
func TestReplacedClientAuthority(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	connection := w.dial(h, w.authority.IssueSPIFFE("spiffe://example.test/mailer"))
	watch, err := watchOver(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	w.write("clients.pem", string(authtest.NewAuthority("others", time.Now()).PEM()))
	if err := w.reload(h, w.all()); err != nil {
		t.Fatal(err)
	}
	h.wantUnauthenticated(getOver(t.Context(), connection), noAuthority)
	h.wantUnauthenticated(ending(t, watch), noLonger)
	if err := getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), connection); err != nil {
		t.Errorf("a call with a static token over the same connection fails: %v", err)
	}
}

// The server in TestClientCertificatesOnly accepts only client certificates.
func TestClientCertificatesOnly(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.listenTLS()+everybody, listenTCP(t))
	h.wantUnauthenticated(getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), w.dial(h)), nobody)
	if err := getOver(t.Context(), w.dial(h, w.fromCertificate(x509.Certificate{DNSNames: []string{"a.test"}}))); err != nil {
		t.Error(err)
	}
	w.wantCaller("dns:a.test", "mutual_tls")
}

// A watch continues while its caller cannot be identified again, because the issuer's keys cannot
// be fetched after a reload.
func TestWatchThatCannotBeChecked(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.all(), listenTCP(t))
	connection := w.dial(h)
	unchecked, err := watchOver(with(t.Context(), "Bearer "+w.mint(w.key, nil)), connection)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.Replace(w.all(), w.keys.URL, "https://127.0.0.1:1", 1)
	for _, more := range []string{elsewhere, w.all()} { // the end of the other watch shows that all watchers were identified again
		other := authentication.GenerateToken()
		if err := w.reload(h, strings.Replace(more, "tokens: [", "tokens: ["+staticToken("other", other)+", ", 1)); err != nil {
			t.Fatal(err)
		}
		ends, err := watchOver(with(t.Context(), "Bearer "+other.Reveal()), connection)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.reload(h, more); err != nil {
			t.Fatal(err)
		}
		h.wantUnauthenticated(ending(t, ends), noLonger)
	}
	h.server.Stop(context.Background())
	h.wantError(ending(t, unchecked), codes.Unavailable, "SERVER_STOPPING", "")
}

func TestEmptyKeyFile(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys ...authtest.Key) {
		if err := os.WriteFile(file, authtest.KeySet(keys...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(w.key)
	more := w.listenTLS() + "authentication: {jwt: [{name: idp, issuer: \"https://idp.test\", audiences: [broker], jwks_file: " + file + "}]}\n"
	h := w.serve(more, listenTCP(t))
	connection := w.dial(h)
	ctx := with(t.Context(), "Bearer "+w.mint(w.key, nil))
	watch, err := watchOver(ctx, connection)
	if err != nil {
		t.Fatal(err)
	}
	write()
	if err := w.reload(h, more); err != nil {
		t.Fatal(err)
	}
	h.wantUnauthenticated(getOver(ctx, connection), noKey)
	h.wantUnauthenticated(ending(t, watch), noLonger)
}

// A stopping server must cancel a running request for an issuer's keys at once, and not wait for
// the timeout of 5 seconds.
func TestStopEndsFetching(t *testing.T) {
	w := newWorld(t)
	arrived, ended := make(chan struct{}), make(chan struct{})
	w.keys.Does(func(_ http.ResponseWriter, request *http.Request) {
		close(arrived)
		<-request.Context().Done()
		close(ended)
	})
	h := w.serve(w.all(), listenTCP(t))
	<-arrived
	h.server.Stop(context.Background())
	select {
	case <-ended:
	case <-time.After(4 * time.Second):
		t.Error("the server still requests keys after it has stopped")
	}
}

// In TestReloadDemandsAuthentication, a reload makes authentication required.
func TestReloadDemandsAuthentication(t *testing.T) {
	w := newWorld(t)
	h := w.serve("", listenTCP(t))
	connection := w.dialWith(h, plain())
	watch, err := watchOver(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.reload(h, w.authentication()+everybody); err != nil {
		t.Fatal(err)
	}
	h.wantUnauthenticated(getOver(t.Context(), connection), nobody)
	h.wantUnauthenticated(ending(t, watch), noLonger)
}

// A broker that other machines can reach rejects a configuration that is safe only on this machine,
// and keeps the previous configuration.
func TestReloadThatExposesSecrets(t *testing.T) {
	w := newWorld(t)
	remote := strings.Replace(w.listenTLS(), "{tls:", `{grpc: "0.0.0.0:0", tls:`, 1)
	h := w.serve(remote+w.authentication()+everybody, listenTCP(t))
	for name, more := range map[string]string{
		"nothing":      "",
		"TLS alone":    strings.Replace(w.listenTLS(), ", client_ca_file: clients.pem", "", 1),
		"grants":       everybody,
		"this machine": "\nlisten: {grpc: \"127.0.0.1:0\"}\n",
	} {
		if err := w.reload(h, more); err == nil || !strings.Contains(err.Error(), "other machines can connect to the broker") {
			t.Errorf("%s: the error is %v", name, err)
		}
		h.wantUnauthenticated(getOver(t.Context(), w.dial(h)), nobody)
	}
	if err := getOver(with(t.Context(), "Bearer "+w.mailer.Reveal()), w.dial(h)); err != nil {
		t.Error(err)
	}
	if err := w.reload(h, w.authentication()+everybody); err != nil {
		t.Errorf("a reload with authentication fails: %v", err)
	}
	const allowed = "\nlisten: {grpc: \"0.0.0.0:0\", insecure_allow_remote: true}\n"
	if err := w.reload(h, allowed); err == nil || !strings.Contains(err.Error(), "restart the broker to apply it") {
		t.Errorf("the error of a reload that sets insecure_allow_remote, which was not set at the start, is %v", err)
	}
	h.wantUnauthenticated(getOver(t.Context(), w.dial(h)), nobody)
	careless := w.serve(allowed+everybody, listenTCP(t))
	if err := w.reload(careless, everybody); err == nil {
		t.Error("a reload without insecure_allow_remote and without authentication succeeds")
	}
}

// TestIdentityExpires lets a caller's token expire during a watch.
func TestIdentityExpires(t *testing.T) {
	w := newWorld(t)
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve(w.all(), listenTCP(t), func(o *server.Options) { o.Clock = clock })
	const leeway = 30
	token := w.mint(w.key, authtest.Claims{"exp": clock.Now().Unix() - leeway + 2})
	watch, err := watchOver(with(t.Context(), "Bearer "+token), w.dial(h))
	if err == nil {
		err = ending(t, watch) // watches wait by Go's own clock
	}
	clock.Advance(2 * time.Second)
	h.wantUnauthenticated(err, "the caller's identity has expired: authenticate and watch again")
	h.wantUnauthenticated(getOver(with(t.Context(), "Bearer "+token), w.dial(h)), "the bearer token has expired")
}

func TestAuthenticationMetrics(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.authentication()+everybody, listenTCP(t))
	connection := w.dialWith(h, plain())
	for _, authorization := range []string{
		"Bearer " + w.mailer.Reveal(), "Bearer " + w.mailer.Reveal(), "Bearer " + authentication.GenerateToken().Reveal(),
		"Bearer " + w.mint(w.key, nil), "Bearer a.b.c", "Basic a", "Basic a", "Basic a",
	} {
		_ = getOver(with(t.Context(), authorization), connection)
	}
	_, _, got := h.fetch("/metrics")
	for series, want := range map[string]string{
		`method="token",result="ok"`: "2", `method="token",result="refused"`: "1", `method="token",result="unavailable"`: "0",
		`method="jwt",result="ok"`: "1", `method="jwt",result="refused"`: "1", `method="jwt",result="unavailable"`: "0",
		`method="none",result="refused"`: "3", `method="peer_user",result="ok"`: "0",
	} {
		if line := "authmaterial_authentications_total{" + series + "} " + want + "\n"; !strings.Contains(got, line) {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	if strings.Contains(got, `method="none",result="ok"`) {
		t.Error("the metrics have a series for unauthenticated callers, although authentication is required")
	}
}
