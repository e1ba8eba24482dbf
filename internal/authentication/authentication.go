// Package authentication identifies callers: by a bearer token, by a client certificate, or by
// the user at the other end of a Unix socket. It depends neither on gRPC nor on HTTP: Evidence
// is all that it reads of a call.
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

// The methods of authentication, as in access.Caller.
const (
	MethodMutualTLS = "mutual_tls"
	MethodJWT       = "jwt"
	MethodToken     = "token"
	MethodPeerUser  = "peer_user"
	MethodNone      = "none"
)

// Evidence is what a call and its connection carry. The zero value proves nothing.
type Evidence struct {
	// Certificates are the client's, leaf first. They are not verified: the TLS handshake has
	// only shown that the client has the private key of the leaf.
	Certificates []*x509.Certificate
	// Bearer is the token of the call, as ParseBearer returns it.
	Bearer secret.Text
	// Proved reports whether this evidence identified a caller before. If it no longer does,
	// its key was withdrawn: the key cannot be a new one.
	Proved bool
	// UserID is the user of the process at the other end of a Unix socket; nil: unknown.
	UserID *uint32
	// Address is where the call comes from; empty: unknown.
	Address string
}

// Methods returns the methods for which there is evidence. It quotes none of the evidence.
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
	if e.UserID != nil {
		methods = append(methods, MethodPeerUser)
	}
	return methods
}

// Authenticator identifies callers by one kind of evidence.
type Authenticator interface {
	// Authenticate returns the Name and ExpireTime of the caller; Set adds the rest. The error is
	// ErrNoEvidence when the call has no evidence of this kind, the error of ctx, or a
	// *fault.Error: CallerUnauthenticated for evidence that is not accepted,
	// AuthenticationUnavailable when it cannot be checked just now. No error quotes evidence.
	Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error)
}

// ErrNoEvidence is the error of an Authenticator for a call without evidence of its kind.
var ErrNoEvidence = errors.New("there is no evidence of this kind")

// errNobody is the answer to a call without evidence of any accepted kind.
var errNobody = fault.New(fault.CallerUnauthenticated, "no accepted token or client certificate was sent")

// Counter counts events. Prometheus' counters implement it.
type Counter interface{ Inc() }

// Counts count the outcomes of one method: the evidence was accepted, refused, refused for now
// because the issuer's keys were fetched a moment ago (ErrKeyRefreshThrottled), or could not be
// checked.
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

// Set is the methods of one configuration. It is immutable.
type Set struct {
	methods []Method
	nobody  Counter
	// Issuers are those of the JSON Web Tokens that the Set accepts, for KeyFetcher.Use.
	Issuers *Issuers
}

// NewSet returns a Set that tries these methods in order. The counter nobody counts calls
// without evidence.
func NewSet(issuers *Issuers, nobody Counter, methods ...Method) *Set {
	return &Set{methods: methods, nobody: nobody, Issuers: issuers}
}

// Identify returns the caller, and counts the outcomes. The error is a *fault.Error, or that of
// ctx.
func (s *Set) Identify(ctx context.Context, evidence Evidence) (access.Caller, error) {
	return s.identify(ctx, evidence, true)
}

// Recheck is Identify for evidence that identified a caller before. It counts nothing.
func (s *Set) Recheck(ctx context.Context, evidence Evidence) (access.Caller, error) {
	evidence.Proved = true
	return s.identify(ctx, evidence, false)
}

// identify returns the caller of the first method that accepts its evidence: wrong evidence of one
// kind does not affect the other methods. If no method accepts, the error is from a method that could
// not check its evidence, or else from one that refused it.
func (s *Set) identify(ctx context.Context, evidence Evidence, counted bool) (access.Caller, error) {
	found := ErrNoEvidence
	for _, method := range s.methods {
		caller, err := method.Authenticator.Authenticate(ctx, evidence)
		if counted {
			method.Counts.count(err)
		}
		if err == nil {
			caller.Method, caller.Address = method.Name, evidence.Address
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

// OK returns the counter of calls that a method identifies. It is for calls of a connection that
// was identified before.
func (s *Set) OK(method string) Counter {
	for _, known := range s.methods {
		if known.Name == method {
			return known.Counts.OK
		}
	}
	return s.nobody // there is no such method
}

// rank orders errors by how much each says about a call.
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

// refused returns the error for evidence that is not accepted.
func refused(message string) error { return fault.New(fault.CallerUnauthenticated, message) }

// maxName is the longest name of a caller without its kind, in bytes. It is that of SPIFFE IDs.
const maxName = 2048

// isName reports whether text can be the name of a caller: it is not blank, and every character
// of it is visible.
func isName(text string) bool {
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	return strings.TrimSpace(text) != "" && len(text) <= maxName && utf8.ValidString(text) && !strings.ContainsFunc(text, invisible)
}

// maxRemembered bounds each cache of this package, in entries. An evicted entry is computed again at
// its next use.
const maxRemembered = 4096

func newCache[K comparable, V any]() *lru.Cache[K, V] {
	cache, err := lru.New[K, V](maxRemembered)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return cache
}
