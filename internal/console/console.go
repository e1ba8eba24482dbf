// Package console serves the web pages on which people manage credentials. Each page calls
// CredentialService and ProviderService as the person who has signed in, so the pages can do nothing
// that this person could not do with the API.
package console

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/gen/authmaterial/v1/authmaterialv1connect"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
)

// Options configure a Console. Every option but OpenIDTransport and Audit is required.
type Options struct {
	// Config has the URL of the console and the issuers at which people sign in.
	Config *config.Console
	// Listen has the address at which the broker answers callers, for the commands that people copy.
	Listen config.Listen
	// API answers for the person whose evidence is in the context of a call: see WithEvidence.
	API API
	// WithEvidence returns a context for calls of the API by somebody with this evidence.
	WithEvidence func(context.Context, authentication.Evidence) context.Context
	// Identify returns the caller with this evidence. The error is a *fault.Error.
	Identify func(context.Context, authentication.Evidence) (access.Caller, error)
	// MayAdd reports whether a caller may create credentials. If not, the pages do not offer this.
	MayAdd func(access.Caller) bool
	// Audit is the log of sign-ins, sign-outs and sign-in links. If Audit is nil, nothing is recorded.
	Audit audit.Log
	// Denials limits the records about refusals.
	Denials Denials
	// HasStore reports whether the broker has a credential store.
	HasStore func() bool
	// MayOperate reports whether a caller may see the fleet status. If not, the pages do not offer it.
	MayOperate func(access.Caller) bool
	// Secure is true if the console is served over TLS.
	Secure bool
	// OpenIDTransport sends requests to OpenID Connect issuers.
	OpenIDTransport func(config.OpenID) http.RoundTripper
	Clock           clockwork.Clock
	Logger          *slog.Logger
	// Stopping ends when the server stops. Event streams end then.
	Stopping context.Context //nolint:containedctx // the context belongs to the server, not to a call
}

// API is the part of the broker's API that the console calls.
type API struct {
	authmaterialv1connect.CredentialServiceClient
	Providers authmaterialv1connect.ProviderServiceClient
	// Watch answers WatchCredentialStates: it calls `send` with each message until the context ends
	// or `send` fails.
	Watch func(
		ctx context.Context, request *authmaterialv1.WatchCredentialStatesRequest,
		send func(*authmaterialv1.WatchCredentialStatesResponse) error,
	) error
}

// Console is an http.Handler for all pages.
type Console struct {
	options  Options
	api      API
	sessions *sessions
	links    *links
	openID   map[string]*issuer // by name
	cookie   cookies
	pages    pages
	handler  http.Handler
	port     string // of the listener; if it is empty, the port in the configuration is used
}

//go:embed assets
var embedded embed.FS

// New returns a Console.
func New(options Options) *Console {
	c := &Console{
		options: options, api: options.API,
		sessions: newSessions(options.Clock), links: newLinks(options.Clock),
		openID: newIssuers(options), cookie: newCookies(options.Secure),
	}
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic(err) // the folder is embedded
	}
	c.pages = newPages(assets)
	open, inner := http.NewServeMux(), http.NewServeMux()
	open.Handle("GET /assets/{hash}/", c.pages.assets)
	open.HandleFunc("GET /sign-in", c.signInPage)
	open.HandleFunc("POST /sign-in", c.signIn)
	open.HandleFunc("GET /sign-in/openid/{issuer}", c.beginOpenID)
	open.HandleFunc("GET /sign-in/callback", c.endOpenID)
	open.Handle("/", c.signedIn(inner))
	for pattern, page := range c.routes() {
		inner.Handle(pattern, c.page(page))
	}
	c.handler = c.guarded(open)
	return c
}

// routes returns the pages for people who have signed in.
func (c *Console) routes() map[string]pageFunc {
	all := map[string]pageFunc{
		"GET /{$}":                        c.home,
		"POST /sign-out":                  c.signOut,
		"GET /credentials":                c.list,
		"GET /credentials/{id}":           c.show,
		"GET /credentials/{id}/access":    c.showAccess,
		"GET /credentials/{id}/rotate":    c.rotatePage,
		"POST /credentials/{id}/rotate":   c.rotate,
		"GET /credentials/{id}/edit":      c.editPage,
		"POST /credentials/{id}/edit":     c.edit,
		"POST /credentials/{id}/verify":   c.verifyStored,
		"POST /credentials/{id}/activate": c.activate,
		"POST /credentials/{id}/withdraw": c.withdraw,
		"POST /credentials/{id}/destroy":  c.destroy,
		"POST /credentials/{id}/delete":   c.delete,
		"POST /credentials/{id}/restore":  c.restore,
		"GET /add":                        c.choose,
		"GET /add/{provider}/{method}":    c.addPage,
		"POST /add/{provider}/{method}":   c.add,
		"GET /providers":                  c.providers,
		"GET /providers/{provider}":       c.provider,
		"GET /fleet":                      c.fleet,
		"GET /states":                     c.states,
		"/":                               c.missing,
	}
	// The answer to these forms is a page if the change failed. Reloading the address of that page, or
	// opening it later, shows the credential.
	for _, form := range []string{"verify", "activate", "withdraw", "destroy", "delete", "restore"} {
		all["GET /credentials/{id}/"+form] = c.toCredential
	}
	return all
}

func (c *Console) toCredential(w http.ResponseWriter, r *http.Request) error {
	return done(w, r, "/credentials/"+url.PathEscape(r.PathValue("id")), "")
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Console) host() string {
	if location, err := url.Parse(c.options.Config.URL); err == nil {
		return location.Host
	}
	return ""
}
