// Package authentication identifies callers by a bearer token, by a client certificate, or by the
// user at the other end of a Unix socket. The package depends neither on gRPC nor on HTTP: the type
// Evidence contains all that it needs to know about a call.
package authentication

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

// These constants are the names of the authentication methods, as in the field Method of
// access.Caller.
const (
	MethodMutualTLS = "mutual_tls"
	MethodJWT       = "jwt"
	MethodToken     = "token"
	MethodOIDC      = "oidc"
	MethodPeerUser  = "peer_user"
	MethodNone      = "none"
)

// Evidence is the data of a call and of its connection that can identify the caller. The zero value
// identifies nobody.
type Evidence struct {
	// Certificates are the client's certificate, followed by any intermediate certificates. The
	// certificates are not verified: the TLS handshake has only shown that the client has the
	// private key of the first certificate.
	Certificates []*x509.Certificate
	// Bearer is the bearer token of the call, as ParseBearer returns it.
	Bearer secret.Text
	// Proved is true if this evidence identified a caller before. If the evidence is a token whose
	// key is now unknown, the issuer has withdrawn the key, because it cannot be a new key.
	Proved bool
	// UserID is the ID of the user whose process is at the other end of a Unix socket, or nil if
	// the user is unknown.
	UserID *uint32
	// Person is the person who has signed in to the console, or nil for other callers.
	Person *Person
	// Address is the network address of the caller. Address is empty if the address is unknown.
	Address string
	// PrivateSocket is true if the call came over a Unix socket that only the broker's own user
	// can open.
	PrivateSocket bool
}

// Methods returns the names of the authentication methods for which the call has evidence. The
// names quote none of the evidence.
func (e Evidence) Methods() []string {
	methods := []string{}
	switch bearer := e.Bearer.Reveal(); {
	case strings.HasPrefix(bearer, TokenPrefix):
		methods = append(methods, MethodToken)
	case bearer != "":
		methods = append(methods, MethodJWT)
	}
	if len(e.Certificates) > 0 {
		methods = append(methods, MethodMutualTLS)
	}
	if e.Person != nil {
		methods = append(methods, MethodOIDC)
	}
	if e.UserID != nil {
		methods = append(methods, MethodPeerUser)
	}
	return methods
}

// Authenticator identifies callers by one kind of evidence.
type Authenticator interface {
	// Authenticate returns the caller. Authenticate sets only the fields Name, Groups and
	// ExpireTime of the caller, and a Set sets the other fields. If the call has no evidence of the
	// Authenticator's kind, the error is ErrNoEvidence. In other cases, the error is the error of
	// the context or a *fault.Error. The reason of the *fault.Error is CallerUnauthenticated if the
	// evidence is not accepted, and AuthenticationUnavailable if the evidence cannot be checked at
	// the moment. The errors do not quote the evidence.
	Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error)
}

// ErrNoEvidence is the error of an Authenticator for a call without evidence of its kind.
var ErrNoEvidence = errors.New("the call has no evidence for this authentication method")

var errNobody = fault.New(fault.CallerUnauthenticated, "no accepted token or client certificate was sent")

// Counter counts events. The counters of the Prometheus library implement Counter.
type Counter interface{ Inc() }

// Counts has a counter for each outcome of one authentication method. The counter Deferred is for
// tokens that are refused temporarily, because the issuer's keys were fetched a moment ago (see
// ErrKeyRefreshThrottled). The counter Unavailable is for evidence that could not be checked.
type Counts struct{ OK, Refused, Deferred, Unavailable Counter }

func (c Counts) count(err error) {
	switch {
	case err == nil:
		c.OK.Inc()
	case errors.Is(err, ErrNoEvidence):
	case errors.Is(err, ErrKeyRefreshThrottled):
		c.Deferred.Inc()
	case fault.From(err).Reason == fault.CallerUnauthenticated:
		c.Refused.Inc()
	default:
		c.Unavailable.Inc()
	}
}

// Method is one way to identify callers.
type Method struct {
	Name          string
	Authenticator Authenticator
	Counts        Counts
}

// Set is the immutable list of authentication methods of one configuration.
type Set struct {
	methods []Method
	nobody  Counter
	// Issuers are the issuers whose JSON Web Tokens the Set accepts. The issuers are passed to
	// KeyFetcher.Use.
	Issuers *Issuers
}

// NewSet returns a Set that tries the methods in the given order. The counter `nobody` counts calls
// without evidence.
func NewSet(issuers *Issuers, nobody Counter, methods ...Method) *Set {
	return &Set{methods: methods, nobody: nobody, Issuers: issuers}
}

// Identify returns the caller, and counts the outcomes of the authentication methods. The error is
// a *fault.Error or the error of the context.
func (s *Set) Identify(ctx context.Context, evidence Evidence) (access.Caller, error) {
	return s.identify(ctx, evidence, true)
}

// Recheck does the same as Identify for evidence that identified a caller before, but it does not
// count outcomes.
func (s *Set) Recheck(ctx context.Context, evidence Evidence) (access.Caller, error) {
	evidence.Proved = true
	return s.identify(ctx, evidence, false)
}

// identify returns the caller that the first successful method identifies. Wrong evidence for one
// method does not affect the other methods. If every method fails, the error of a method that could
// not check the evidence takes precedence over the error of a method that refused it.
func (s *Set) identify(ctx context.Context, evidence Evidence, counted bool) (access.Caller, error) {
	found := ErrNoEvidence
	for _, method := range s.methods {
		caller, err := method.Authenticator.Authenticate(ctx, evidence)
		if counted {
			method.Counts.count(err)
		}
		if err == nil {
			caller.Method, caller.Address, caller.PrivateSocket = method.Name, evidence.Address, evidence.PrivateSocket
			return caller, nil
		}
		if rank(err) > rank(found) {
			found = err
		}
	}
	if !errors.Is(found, ErrNoEvidence) {
		return access.Caller{}, found
	}
	if counted {
		s.nobody.Inc()
	}
	return access.Caller{}, errNobody
}

// OK returns the counter of successes of an authentication method. On a connection whose caller was
// identified before, this counter must be incremented for each call.
func (s *Set) OK(method string) Counter {
	for _, known := range s.methods {
		if known.Name == method {
			return known.Counts.OK
		}
	}
	return s.nobody // the Set has no method with this name
}

// `rank` orders authentication errors by how much they tell the caller. An error that tells the
// caller more has a higher rank.
func rank(err error) int {
	var known *fault.Error
	switch {
	case errors.Is(err, ErrNoEvidence):
		return 0
	case errors.As(err, &known) && known.Reason == fault.CallerUnauthenticated:
		return 1
	default:
		return 2
	}
}

func refused(message string) error { return fault.New(fault.CallerUnauthenticated, message) }

// maxName is the maximum length of a caller's name in bytes, without a prefix such as `jwt:`.
// SPIFFE IDs have the same limit.
const maxName = 2048

// IsName reports whether a text can be the name of a caller: it is not blank, not too long, and has
// only visible characters.
func IsName(text string) bool {
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	return strings.TrimSpace(text) != "" && len(text) <= maxName && utf8.ValidString(text) && !strings.ContainsFunc(text, invisible)
}

// maxRemembered is the maximum number of entries in each cache of this package. The content of an
// entry that was removed from the cache is computed again.
const maxRemembered = 4096

func newCache[K comparable, V any]() *lru.Cache[K, V] {
	cache, err := lru.New[K, V](maxRemembered)
	if err != nil {
		panic(err) // the library returns an error only if the size of the cache is not positive
	}
	return cache
}
