package console

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jonboulle/clockwork"
	"golang.org/x/oauth2"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// loginAge is how long a person may take to sign in at the issuer.
	loginAge = 5 * time.Minute
	// issuerTimeout is the maximum duration of the requests to an issuer for one sign-in.
	issuerTimeout = 10 * time.Second
	// discoveryPause is the time between two attempts to read the settings of an issuer.
	discoveryPause = 5 * time.Second
	// maxAnswer is the maximum size of an issuer's answer, in bytes.
	maxAnswer = 1 << 20
)

// issuer is an OpenID Connect issuer at which people sign in.
type issuer struct {
	config.OpenID
	client *http.Client

	clock clockwork.Clock

	mu       sync.Mutex
	provider *oidc.Provider // nil until the issuer's settings have been read
	failure  error          // of the latest attempt to read the settings
	failed   time.Time
}

func newIssuers(options Options) map[string]*issuer {
	all := map[string]*issuer{}
	for _, configured := range options.Config.OpenID {
		client := &http.Client{
			Transport: limited{options.OpenIDTransport(configured)}, Timeout: issuerTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		all[configured.Name] = &issuer{OpenID: configured, client: client, clock: options.Clock}
	}
	return all
}

// limited limits the size of answers, which the libraries read completely.
type limited struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	}
	return response, err
}

// discover returns the issuer's settings, which it reads once. For discoveryPause after a failure,
// discover returns the same error without a request, because anybody can open the page that calls it.
func (i *issuer) discover(ctx context.Context) (*oidc.Provider, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, nil
	}
	if i.failure != nil && i.clock.Since(i.failed) < discoveryPause {
		return nil, i.failure
	}
	// The attempt also serves other people, so it continues if this person closes the page.
	i.provider, i.failure = oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.client), i.Issuer)
	i.failed = i.clock.Now()
	return i.provider, i.failure
}

func (i *issuer) oauth(provider *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: i.ClientID, ClientSecret: i.ClientSecret.Reveal(), Endpoint: provider.Endpoint(),
		RedirectURL: redirect, Scopes: append([]string{oidc.ScopeOpenID}, i.Scopes...),
	}
}

// login is the state that the browser keeps in a cookie while a person signs in at the issuer. In the
// cookie, tildes separate the fields. The field next is the page that follows.
type login struct{ issuer, state, nonce, verifier, next string }

func (l login) String() string {
	return strings.Join([]string{l.issuer, l.state, l.nonce, l.verifier, url.QueryEscape(l.next)}, "~")
}

func parseLogin(text string) (login, bool) {
	parts := strings.SplitN(text, "~", 5)
	if len(parts) != 5 {
		return login{}, false
	}
	next, err := url.QueryUnescape(parts[4])
	return login{parts[0], parts[1], parts[2], parts[3], ownPath(next)}, err == nil
}

// maxNext is the maximum length of the page that follows a sign-in at an issuer, because browsers keep
// only small cookies.
const maxNext = 1000

func (c *Console) callback() string { return c.URL() + "/sign-in/callback" }

var errIssuer = errors.New("The issuer cannot be reached, or its settings cannot be used. Try again later. The broker's log has the reason.") //nolint:revive,staticcheck // a sentence for people

// brief returns the beginning of an error's text, which may quote what an issuer has sent.
func brief(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}

// beginOpenID redirects to the page on which a person signs in at the issuer.
func (c *Console) beginOpenID(w http.ResponseWriter, r *http.Request) {
	at := c.openID[r.PathValue("issuer")]
	if at == nil {
		c.showSignIn(w, r, http.StatusNotFound, signInView{Problem: "The configuration has no issuer with this name. Choose another way to sign in."})
		return
	}
	provider, err := at.discover(r.Context())
	if err != nil {
		c.options.Logger.Warn("the settings of an OpenID Connect issuer could not be read", "issuer", at.Name, "error", brief(err))
		c.showSignIn(w, r, http.StatusBadGateway, signInView{Problem: errIssuer.Error()})
		return
	}
	next := ownPath(r.FormValue("next"))
	if len(next) > maxNext {
		next = "/"
	}
	begun := login{at.Name, rand.Text(), rand.Text(), oauth2.GenerateVerifier(), next}
	http.SetCookie(w, c.cookie.make(c.cookie.login, begun.String(), loginAge, http.SameSiteLaxMode))
	http.Redirect(w, r, at.oauth(provider, c.callback()).AuthCodeURL(begun.state,
		oidc.Nonce(begun.nonce), oauth2.S256ChallengeOption(begun.verifier)), http.StatusSeeOther)
}

var (
	errOtherSignIn = fault.New(fault.CallerUnauthenticated, "the sign-in took longer than 5 minutes, or began in another browser. Sign in again")
	errAnswer      = fault.New(fault.CallerUnauthenticated, "the broker did not accept the answer of the issuer. "+seeLog)
)

// refusedBy returns the error of a person whom an issuer did not sign in. The code is the issuer's
// reason, such as access_denied.
func refusedBy(issuer, code string) error {
	if !errorCode.MatchString(code) {
		code = "without a known reason"
	}
	return fault.New(fault.CallerUnauthenticated, "the issuer "+issuer+" did not sign you in ("+code+"). Try again, or ask the administrator of the issuer for access")
}

var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// endOpenID begins the session of a person who has signed in at the issuer. The answer is a page that
// opens the console, and not a redirect: after a redirect that began at another site, the browser would
// not send the session's cookie.
func (c *Console) endOpenID(w http.ResponseWriter, r *http.Request) {
	begun, ok := parseLogin(valueOf(r, c.cookie.login))
	http.SetCookie(w, c.cookie.make(c.cookie.login, "", 0, http.SameSiteLaxMode))
	at := c.openID[begun.issuer]
	if !ok || at == nil {
		c.showRefusal(w, r, "/", errOtherSignIn) // without an audit record: it is not known where the person signed in
		return
	}
	a := attempt{with: "oidc:" + at.Name}
	a.evidence.Person, a.refusal = c.personAt(r, at, begun)
	if err := c.begin(w, r, a); err != nil {
		c.showRefusal(w, r, begun.next, err)
		return
	}
	c.pages.show(w, r, http.StatusOK, "signed-in", page{Title: "Signed in", Body: begun.next})
}

// personAt returns the person about whom an issuer has answered. The error is a *fault.Error.
func (c *Console) personAt(r *http.Request, at *issuer, begun login) (*authentication.Person, error) {
	switch {
	case r.FormValue("state") != begun.state:
		return nil, errOtherSignIn
	case r.FormValue("error") != "":
		return nil, refusedBy(at.Name, r.FormValue("error"))
	}
	someone, err := at.exchange(r.Context(), begun, r.FormValue("code"), c.callback())
	if err != nil {
		c.options.Logger.Warn("a person could not be signed in", "issuer", at.Name, "error", brief(err))
		return nil, errAnswer
	}
	someone.Caller.ExpireTime = clock.WallNow(c.options.Clock).Add(sessionAge)
	return someone, nil
}

var (
	errNoIDToken = errors.New("the issuer's answer has no ID token")
	errNonce     = errors.New("the ID token belongs to another sign-in")
	errSubject   = errors.New("the subject in the ID token cannot be part of a caller's name")
)

// exchange exchanges a code for the person who signed in.
func (i *issuer) exchange(ctx context.Context, begun login, code, redirect string) (*authentication.Person, error) {
	provider, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, i.client)
	token, err := i.oauth(provider, redirect).Exchange(ctx, code, oauth2.VerifierOption(begun.verifier))
	if err != nil {
		var answer *oauth2.RetrieveError
		if errors.As(err, &answer) { // its text quotes the answer
			return nil, errors.New("the issuer refused the code with the status " + answer.Response.Status)
		}
		return nil, err
	}
	text, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errNoIDToken
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: i.ClientID, Now: func() time.Time { return clock.WallNow(i.clock) }}).Verify(ctx, text)
	if err != nil {
		return nil, err
	}
	if verified.Nonce != begun.nonce {
		return nil, errNonce
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return nil, err
	}
	return i.person(verified.Subject, claims)
}

// person returns the person with this subject and these claims.
func (i *issuer) person(subject string, claims map[string]any) (*authentication.Person, error) {
	if !authentication.IsName(subject) {
		return nil, errSubject
	}
	someone := &authentication.Person{Issuer: i.Name, Caller: access.Caller{
		Name: "oidc:" + i.Name + ":" + subject, Groups: authentication.Groups(i.Name, claims[i.GroupsClaim]),
	}}
	for _, claim := range []string{"email", "name"} {
		if text, _ := claims[claim].(string); authentication.IsName(text) {
			someone.DisplayName = text
		}
	}
	return someone, nil
}
