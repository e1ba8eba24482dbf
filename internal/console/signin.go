package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"connectrpc.com/connect"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

// person is somebody who has signed in.
type person struct {
	*session
	known      access.Caller
	proof      string // the value of the session's cookie
	mayAdd     bool   // whether the person may add credentials
	mayOperate bool   // whether the person may see the fleet status
}

// signedIn passes the requests of signed-in people to inner, and sends others to the sign-in page. The
// caller is identified for each request, so that a session ends when its token is removed from the
// configuration.
func (c *Console) signedIn(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.options.Stopping.Err() != nil { // a change might not be finished
			c.refuse(w, r, http.StatusServiceUnavailable, "The broker is stopping. Try again in a minute.")
			return
		}
		proof := valueOf(r, c.cookie.session)
		found := c.sessions.find(proof)
		if found == nil {
			c.askToSignIn(w, r)
			return
		}
		evidence := found.evidence
		evidence.Address = r.RemoteAddr
		switch caller, err := c.identify(r, evidence); {
		case err != nil && fault.From(err).Reason != fault.CallerUnauthenticated:
			c.refuse(w, r, http.StatusServiceUnavailable, "At the moment, the broker cannot check who you are. Try again in a minute.")
		case err != nil || caller.Name != found.caller:
			c.sessions.end(proof)
			c.askToSignIn(w, r)
		default:
			someone := person{found, caller, proof, c.options.MayAdd(caller), c.options.MayOperate(caller)}
			ctx := context.WithValue(c.options.WithEvidence(r.Context(), evidence), personKey{}, someone)
			inner.ServeHTTP(w, r.WithContext(ctx))
		}
	})
}

var errUnproven = fault.New(fault.CallerUnauthenticated, "the token was not accepted")

// identify returns the caller with this evidence. If the configuration does not authenticate callers,
// the API accepts all calls from this machine. A session still needs evidence, so identify then accepts
// only callers at a private Unix socket.
func (c *Console) identify(r *http.Request, evidence authentication.Evidence) (access.Caller, error) {
	caller, err := c.options.Identify(r.Context(), evidence)
	if err == nil && caller.Method == authentication.MethodNone && !caller.PrivateSocket {
		err = errUnproven
	}
	return caller, err
}

// refuse shows a problem instead of a page.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	c.showProblem(w, r, problem{Status: status, Title: "This is not possible", Text: text})
}

type personKey struct{}

func personOf(r *http.Request) person {
	found, _ := r.Context().Value(personKey{}).(person)
	return found
}

// askToSignIn redirects to the sign-in page. A form that somebody sends after the end of the session
// changes nothing: the answer then contains sessionEnded. With JavaScript, the form stays on the
// page.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request) {
	location := "/sign-in"
	if r.Method == http.MethodGet && r.URL.Path != "/" && r.URL.Path != "/states" && !isPartial(r) {
		location += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	switch {
	case r.URL.Path == "/states":
		http.Error(w, "sign in first", http.StatusUnauthorized)
	case r.Method == http.MethodPost && r.URL.Path != "/sign-out":
		c.showProblem(w, r, problem{Status: http.StatusUnauthorized, Title: "Sign in again", Text: sessionEnded, SignIn: true, Part: isPartial(r)})
	case isPartial(r):
		w.Header().Set("HX-Redirect", location)
	default:
		http.Redirect(w, r, location, http.StatusSeeOther)
	}
}

const sessionEnded = "Your session has ended, so nothing was saved."

// signInView is the content of the sign-in page.
type signInView struct {
	Code    string // of a sign-in link; empty if the page was opened without a link
	Next    string // the page that follows
	Issuers []string
	Problem string
	// TokenPrefix begins every static token.
	TokenPrefix string
	LinkCommand string // prints a sign-in link; empty if the broker has no socket for this
}

// signInPage shows the sign-in page, except to people who have signed in and who open no link.
func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("code") == "" && c.sessions.find(valueOf(r, c.cookie.session)) != nil {
		http.Redirect(w, r, ownPath(r.FormValue("next")), http.StatusSeeOther) //nolint:gosec // ownPath returns paths of the console only
		return
	}
	c.showSignIn(w, r, http.StatusOK, signInView{Code: r.FormValue("code"), Next: ownPath(r.FormValue("next"))})
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, status int, view signInView) {
	view.Issuers, view.TokenPrefix = c.options.Config.IssuerNames(), authentication.TokenPrefix
	view.LinkCommand = c.linkCommand()
	c.pages.show(w, r, status, "sign-in", page{Title: "Sign in", Body: view})
}

// linkCommand returns the command that prints a sign-in link, or "" if the broker has no private
// socket. Everybody can see the sign-in page, so on a page for other machines the command lacks the
// path of the socket.
func (c *Console) linkCommand() string {
	switch {
	case !c.options.Listen.IsPrivate(c.options.Listen.GRPC):
		return ""
	case c.options.Config.Address.Remote:
		return "broker console --address unix:///PATH/broker.sock"
	}
	return "broker console --address " + quoted(c.options.Listen.GRPC.String())
}

// anotherLink describes how to get another sign-in link.
func (c *Console) anotherLink() string {
	if command := c.linkCommand(); command != "" {
		return "To get another one, run: " + command
	}
	return "To get another one, start the broker again."
}

// attempt is an attempt to sign in.
type attempt struct {
	with     string // the value of audit.Record.SignInWith
	evidence authentication.Evidence
	refusal  error // a *fault.Error, or nil if the evidence decides
}

var errUsedLink = fault.New(fault.CallerUnauthenticated,
	"the link has been used already, or is older than 5 minutes")

// signIn signs in somebody who has a sign-in link or a static token.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	if !c.readForm(w, r) {
		return
	}
	next, a := ownPath(r.PostFormValue("next")), attempt{with: "link"}
	if code := r.PostFormValue("code"); code != "" {
		known := false
		if a.evidence, known = c.links.use(code); !known {
			a.refusal = errUsedLink
		}
	} else {
		token := strings.TrimSpace(r.PostFormValue("token"))
		a = attempt{with: "token", evidence: authentication.Evidence{Bearer: secret.New(token)}}
		if !strings.HasPrefix(token, authentication.TokenPrefix) {
			a.refusal = fault.New(fault.CallerUnauthenticated, "this is not a token of the broker. It lacks the prefix "+authentication.TokenPrefix)
		}
	}
	if err := c.begin(w, r, a); err != nil {
		c.showRefusal(w, r, next, err)
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // ownPath returns paths of the console only
}

// showRefusal shows the sign-in page with the reason why somebody was not signed in.
func (c *Console) showRefusal(w http.ResponseWriter, r *http.Request, next string, err error) {
	known, status := fault.From(err), http.StatusUnauthorized
	if known.Reason == fault.RateLimited {
		status = http.StatusTooManyRequests
	}
	if known.Reason == fault.Internal {
		status = http.StatusInternalServerError
	}
	text := sentence(known.Message)
	if errors.Is(err, errUsedLink) {
		text += " " + c.anotherLink()
	}
	c.showSignIn(w, r, status, signInView{Problem: text, Next: next})
}

// begin begins a session, once the audit record of the sign-in is written.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, a attempt) error {
	a.evidence.Address = r.RemoteAddr
	caller, err := access.Caller{}, a.refusal
	if err == nil {
		caller, err = c.identify(r, a.evidence)
	}
	if err != nil {
		caller = unknown(r.RemoteAddr)
	}
	if err = c.record(r.Context(), audit.Record{Caller: caller, Operation: audit.SignIn, SignInWith: a.with}, err); err != nil {
		return err
	}
	if old := valueOf(r, c.cookie.session); old != "" {
		c.sessions.end(old)
	}
	proof, begun := c.sessions.begin(caller.Name, a.evidence)
	http.SetCookie(w, c.cookie.make(c.cookie.session, proof, sessionAge, http.SameSiteStrictMode))
	c.options.Logger.Info("signed in to the console", "caller", caller.Name, "method", caller.Method, "address", r.RemoteAddr, "until", begun.expires)
	return nil
}

var errSignedOut = connect.NewError(connect.CodeInternal, errors.New("you are signed out, but the audit record could not be written"))

// signOut ends a session, even if the audit record cannot be written.
func (c *Console) signOut(w http.ResponseWriter, r *http.Request) error {
	someone := personOf(r)
	c.sessions.end(someone.proof)
	http.SetCookie(w, c.cookie.make(c.cookie.session, "", 0, http.SameSiteStrictMode))
	if c.record(detached(r), audit.Record{Caller: someone.known, Operation: audit.SignOut}, nil) != nil {
		return errSignedOut
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	return nil
}

// ownPath returns the path if it is one of the console, and `/` otherwise. A path that begins with two
// slashes, or with a slash and a backslash, would lead to another site.
func ownPath(path string) string {
	location, err := url.Parse(path)
	if err != nil || location.Host != "" || location.Scheme != "" || !strings.HasPrefix(path, "/") ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\t\r\n") {
		return "/"
	}
	return path
}
