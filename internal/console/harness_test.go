package console_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/jonboulle/clockwork"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/gen/authmaterial/v1/authmaterialv1connect"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
	"github.com/authmaterial/broker/internal/fault"
)

const address = "127.0.0.1:8081"

// world is a console over an API that knows one credential.
type world struct {
	*testing.T
	*console.Console
	api       *api
	clock     *clockwork.FakeClock
	stop      func()
	logs      bytes.Buffer
	mu        sync.Mutex               // guards records
	callers   map[string]access.Caller // by token
	failure   error                    // of the identification of every caller
	records   []audit.Record
	unwritten bool // whether audit records cannot be written
	limited   bool // whether refusals have no records of their own any more
}

// newWorld returns a console at a loopback address. The parameter `change` changes its options.
func newWorld(t *testing.T, change func(*console.Options)) *world {
	t.Helper()
	w := &world{T: t, api: &api{}, clock: clockwork.NewFakeClock(), callers: map[string]access.Caller{
		token("ann"): {Name: "token:ann", Method: authentication.MethodToken},
		token("bob"): {Name: "token:bob", Method: authentication.MethodToken},
	}}
	stopping, stop := context.WithCancel(t.Context())
	w.stop = stop
	options := console.Options{
		Config: &config.Console{Address: config.Address{Network: "tcp", Address: address}},
		API:    console.API{CredentialServiceClient: w.api, Providers: w.api, Watch: w.api.watch},
		WithEvidence: func(ctx context.Context, e authentication.Evidence) context.Context {
			return context.WithValue(ctx, evidenceKey{}, e)
		},
		Identify:   w.identify,
		MayAdd:     func(c access.Caller) bool { return c.Name != "token:bob" },
		HasStore:   func() bool { return true },
		MayOperate: func(c access.Caller) bool { return c.Name != "token:bob" },
		Audit:      w,
		Denials:    w,
		Clock:      w.clock,
		Logger:     slog.New(slog.NewTextHandler(&w.logs, nil)),
		Stopping:   stopping,
	}
	if change != nil {
		change(&options)
	}
	w.Console = console.New(options)
	return w
}

// Write implements audit.Log.
func (w *world) Write(_ context.Context, record audit.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unwritten {
		return errors.New("the disk is full")
	}
	w.records = append(w.records, record)
	return nil
}

// Allow implements console.Denials.
func (w *world) Allow(access.Caller) bool { return !w.limited }

// recorded returns the records since the last call, as texts.
func (w *world) recorded() []string {
	var texts []string
	for _, r := range w.records {
		texts = append(texts, strings.Join([]string{r.Caller.Name, r.Caller.Method, r.Caller.Address, string(r.Operation), r.SignInWith, r.Outcome}, " "))
	}
	w.records = nil
	return texts
}

type evidenceKey struct{}

func (w *world) identify(_ context.Context, e authentication.Evidence) (access.Caller, error) {
	if w.failure != nil {
		return access.Caller{}, w.failure
	}
	if caller, known := w.callers[e.Bearer.Reveal()]; known {
		caller.Address = e.Address
		return caller, nil
	}
	if e.UserID != nil || e.PrivateSocket {
		return access.Caller{Name: "uid:7", Method: authentication.MethodPeerUser, Address: e.Address, PrivateSocket: e.PrivateSocket}, nil
	}
	return access.Caller{}, fault.New(fault.CallerUnauthenticated, "no accepted token was sent")
}

// token returns the static token of a caller.
func token(name string) string { return authentication.TokenPrefix + name }

// answer is the answer to a request.
type answer struct {
	StatusCode int
	Header     http.Header
	text       string
	cookies    []*http.Cookie
}

// send sends a request as a browser does, with the cookie if it is not nil.
func (w *world) send(method, path string, form url.Values, cookie *http.Cookie, change ...func(*http.Request)) *answer {
	w.Helper()
	r := httptest.NewRequestWithContext(w.Context(), method, "http://"+address+path, strings.NewReader(form.Encode()))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != nil {
		r.AddCookie(cookie)
	}
	for _, c := range change {
		c(r)
	}
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	made := &answer{StatusCode: recorder.Code, Header: recorder.Result().Header, text: recorder.Body.String()}
	for _, line := range made.Header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		if err != nil {
			w.Error(err)
			continue
		}
		made.cookies = append(made.cookies, cookie)
	}
	return made
}

func (w *world) get(path string, cookie *http.Cookie) *answer {
	w.Helper()
	return w.send(http.MethodGet, path, nil, cookie)
}

// signIn signs in with a token, and returns the cookie of the session.
func (w *world) signIn(name string) *http.Cookie {
	w.Helper()
	answer := w.send(http.MethodPost, "/sign-in", url.Values{"token": {token(name)}}, nil)
	if answer.StatusCode != http.StatusSeeOther || len(answer.cookies) != 1 {
		w.Fatalf("the sign-in has the status %d and the cookies %v", answer.StatusCode, answer.cookies)
	}
	return answer.cookies[0]
}

// isSignedIn reports whether a session is valid.
func (w *world) isSignedIn(cookie *http.Cookie) bool {
	w.Helper()
	answer := w.get("/credentials", cookie)
	switch {
	case answer.StatusCode == http.StatusOK:
		return true
	case answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/sign-in?next=%2Fcredentials":
		w.Fatalf("the list has the status %d and leads to %q", answer.StatusCode, answer.Header.Get("Location"))
	}
	return false
}

// api is an API with one credential. Calls of methods that it does not have panic.
type api struct {
	authmaterialv1connect.CredentialServiceClient

	evidence authentication.Evidence // of the latest call
	created  *authmaterialv1.CreateCredentialRequest
	failure  error  // of changes
	list     error  // of lists
	filter   string // of the latest list
	empty    bool   // whether there are no credentials
	updated  *authmaterialv1.UpdateCredentialRequest
	version  *authmaterialv1.CreateCredentialVersionRequest
	verified *authmaterialv1.VerifyCredentialRequest
	active   *authmaterialv1.ActivateCredentialVersionRequest
	warning  string                              // of activations
	versions []*authmaterialv1.CredentialVersion // nil: the store is out of reach
	allowed  []string                            // the actions that are allowed; nil: view and manage
	watches  chan context.Context
}

var mail = &authmaterialv1.Credential{
	CredentialId: "mail", DisplayName: "Mail", Provider: "acme", AuthMethod: "key", Etag: "1",
	Labels: map[string]string{"note": "two\nlines=2", "team": " growth "}, SecretExpireTime: timestamppb.New(time.Date(2027, 1, 31, 15, 30, 0, 0, time.UTC)),
	Origin: authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_MANAGED, State: authmaterialv1.CredentialState_CREDENTIAL_STATE_READY, ActiveVersion: 1,
}

var acme = &authmaterialv1.Provider{ProviderId: "acme", DisplayName: "Acme", Description: "Write `x<y` in a `note`.", AuthMethods: []*authmaterialv1.AuthMethod{{
	AuthMethodId: "key", DisplayName: "Key", Verifiable: true, Fields: []*authmaterialv1.Field{
		{FieldId: "account", DisplayName: "Account", Required: true, Multiline: true}, {FieldId: "key", DisplayName: "Key", Required: true, Secret: true},
	},
}}}

// robot has a secret of several lines, and ends a token when it issues the next one.
var robot = &authmaterialv1.Provider{ProviderId: "robot", DisplayName: "Robot", AuthMethods: []*authmaterialv1.AuthMethod{{
	AuthMethodId: "key", DisplayName: "Key", Verifiable: true, UsesToken: true, EndsPreviousToken: true, Fields: []*authmaterialv1.Field{
		{FieldId: "account", DisplayName: "Account", Required: true, Secret: true},
		{FieldId: "key", DisplayName: "Key", Required: true, Secret: true, Multiline: true},
	},
}}}

var errNoCredential = connect.NewError(connect.CodeNotFound, errors.New("no credential has this ID"))

func (a *api) note(ctx context.Context) {
	a.evidence, _ = ctx.Value(evidenceKey{}).(authentication.Evidence)
}

func (a *api) ListProviders(ctx context.Context, _ *authmaterialv1.ListProvidersRequest) (*authmaterialv1.ListProvidersResponse, error) {
	a.note(ctx)
	return &authmaterialv1.ListProvidersResponse{Providers: []*authmaterialv1.Provider{acme}}, nil
}

func (*api) GetProvider(_ context.Context, r *authmaterialv1.GetProviderRequest) (*authmaterialv1.GetProviderResponse, error) {
	if r.GetProviderId() == "robot" {
		return &authmaterialv1.GetProviderResponse{Provider: robot}, nil
	}
	if r.GetProviderId() != "acme" {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no provider has this ID"))
	}
	return &authmaterialv1.GetProviderResponse{Provider: acme}, nil
}

func (a *api) ListCredentials(ctx context.Context, r *authmaterialv1.ListCredentialsRequest) (*authmaterialv1.ListCredentialsResponse, error) {
	a.note(ctx)
	if a.list != nil {
		return nil, a.list
	}
	a.filter = r.GetFilter()
	if a.empty {
		return &authmaterialv1.ListCredentialsResponse{}, nil
	}
	return &authmaterialv1.ListCredentialsResponse{Credentials: []*authmaterialv1.Credential{mail}}, nil
}

func (*api) GetCredential(_ context.Context, r *authmaterialv1.GetCredentialRequest) (*authmaterialv1.GetCredentialResponse, error) {
	if r.GetCredentialId() != "mail" {
		return nil, errNoCredential
	}
	return &authmaterialv1.GetCredentialResponse{Credential: mail}, nil
}

func (*api) GetCredentialStatus(_ context.Context, r *authmaterialv1.GetCredentialStatusRequest) (*authmaterialv1.GetCredentialStatusResponse, error) {
	switch r.GetCredentialId() {
	case "mail":
		return &authmaterialv1.GetCredentialStatusResponse{Credential: mail, Status: &authmaterialv1.CredentialStatus{}}, nil
	case "panic":
		panic("a panic with the value " + canary)
	}
	return nil, errNoCredential
}

func (a *api) ExplainAccess(context.Context, *authmaterialv1.ExplainAccessRequest) (*authmaterialv1.ExplainAccessResponse, error) {
	if a.allowed != nil {
		return &authmaterialv1.ExplainAccessResponse{AllowedActions: a.allowed}, nil
	}
	return &authmaterialv1.ExplainAccessResponse{AllowedActions: []string{"view", "manage"}, Grants: []string{"", "broker.yaml:7"}, Explanation: "The configuration has no grants."}, nil
}

func (a *api) ListCredentialVersions(context.Context, *authmaterialv1.ListCredentialVersionsRequest) (*authmaterialv1.ListCredentialVersionsResponse, error) {
	if a.versions != nil {
		return &authmaterialv1.ListCredentialVersionsResponse{Versions: a.versions}, nil
	}
	return nil, connect.NewError(connect.CodeUnavailable, errors.New("the store is out of reach"))
}

func (a *api) ListCredentialEvents(context.Context, *authmaterialv1.ListCredentialEventsRequest) (*authmaterialv1.ListCredentialEventsResponse, error) {
	if a.versions != nil {
		return &authmaterialv1.ListCredentialEventsResponse{Events: []*authmaterialv1.CredentialEvent{
			{Caller: "token:ann", Operation: "create_version", Version: 2, Fields: []string{"values.key", "allowed_hosts", "active_version"}},
			{Caller: "token:ann", Operation: "activate_version", Version: 2, Fields: []string{"canary"}},
		}}, nil
	}
	return nil, connect.NewError(connect.CodeUnavailable, errors.New("the store is out of reach"))
}

func (*api) GetFleetStatus(context.Context, *authmaterialv1.GetFleetStatusRequest) (*authmaterialv1.GetFleetStatusResponse, error) {
	return nil, connect.NewError(connect.CodePermissionDenied, errors.New("you may not operate"))
}

func (a *api) CreateCredential(_ context.Context, r *authmaterialv1.CreateCredentialRequest) (*authmaterialv1.CreateCredentialResponse, error) {
	a.created = r
	return &authmaterialv1.CreateCredentialResponse{Credential: mail}, a.failure
}

func (a *api) VerifyCredential(_ context.Context, r *authmaterialv1.VerifyCredentialRequest) (*authmaterialv1.VerifyCredentialResponse, error) {
	a.verified = r
	return &authmaterialv1.VerifyCredentialResponse{Verification: &authmaterialv1.Verification{Explanation: "It works."}}, a.failure
}

func (a *api) UpdateCredential(_ context.Context, r *authmaterialv1.UpdateCredentialRequest) (*authmaterialv1.UpdateCredentialResponse, error) {
	a.updated = r
	return &authmaterialv1.UpdateCredentialResponse{Credential: r.GetCredential()}, a.failure
}

func (a *api) CreateCredentialVersion(_ context.Context, r *authmaterialv1.CreateCredentialVersionRequest) (*authmaterialv1.CreateCredentialVersionResponse, error) {
	a.version = r
	return &authmaterialv1.CreateCredentialVersionResponse{Credential: mail, Version: &authmaterialv1.CredentialVersion{Version: 2}}, a.failure
}

func (a *api) ActivateCredentialVersion(_ context.Context, r *authmaterialv1.ActivateCredentialVersionRequest) (*authmaterialv1.ActivateCredentialVersionResponse, error) {
	a.active = r
	return &authmaterialv1.ActivateCredentialVersionResponse{Credential: mail, Warning: a.warning}, a.failure
}

func (a *api) watch(
	ctx context.Context, _ *authmaterialv1.WatchCredentialStatesRequest, send func(*authmaterialv1.WatchCredentialStatesResponse) error,
) error {
	if a.failure != nil {
		return a.failure
	}
	if err := send(&authmaterialv1.WatchCredentialStatesResponse{Credentials: []*authmaterialv1.Credential{mail}, Complete: true}); err != nil {
		return err
	}
	a.watches <- ctx
	<-ctx.Done()
	return connect.NewError(connect.CodeUnauthenticated, errors.New("the token is not accepted any more"))
}
