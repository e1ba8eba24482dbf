// Package authentication finds out who calls, as far as it can be proved. It knows
// nothing of gRPC and HTTP: what a call brings is plain Evidence.
package authentication

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

// The methods by which an identity is proved, as in access.Caller.
const (
	MethodMutualTLS = "mutual_tls"
	MethodJWT       = "jwt"
	MethodToken     = "token"
	MethodPeerUser  = "peer_user"
	MethodNone      = "none"
)

// Evidence is what a call and its connection bring. The zero value proves nothing.
type Evidence struct {
	// Certificates are the client's, leaf first. The TLS handshake has shown that the client
	// has the private key of the leaf, and nothing else: they are not verified.
	Certificates []*x509.Certificate
	// Bearer is the token of the call, as ParseBearer returns it.
	Bearer secret.Text
	// Proved says that it proved an identity before. What does so no longer was withdrawn,
	// and is not new.
	Proved bool
	// UserID is that of the process at the other end of a Unix socket; nil: unknown.
	UserID *uint32
	// Address is where the call comes from; empty: unknown.
	Address string
}

// Methods are those by which the evidence could prove something. They quote nothing of it.
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

// Authenticator finds out who calls by one kind of evidence.
type Authenticator interface {
	// Authenticate returns the caller. The error is ErrNoEvidence when there is none of its
	// kind, that of ctx, or a *fault.Error: CallerUnauthenticated for evidence that proves
	// nothing, AuthenticationUnavailable when it cannot be checked just now. No error quotes
	// evidence.
	Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error)
}

// ErrNoEvidence says that there is no evidence of an authenticator's kind.
var ErrNoEvidence = errors.New("there is no evidence of this kind")

// Any returns an authenticator that asks these in their order. The first that proves an
// identity answers: wrong evidence of one kind does not spoil that of another. Where none
// does, that something cannot be checked counts more than that something is wrong.
func Any(authenticators ...Authenticator) Authenticator { return anyOf(authenticators) }

type anyOf []Authenticator

// Authenticate implements Authenticator.
func (all anyOf) Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error) {
	found := ErrNoEvidence
	for _, authenticator := range all {
		caller, err := authenticator.Authenticate(ctx, evidence)
		if err == nil {
			return caller, nil
		}
		if rank(err) > rank(found) {
			found = err
		}
	}
	return access.Caller{}, found
}

// rank is how much an error says about a call.
func rank(err error) int {
	if errors.Is(err, ErrNoEvidence) {
		return 0 // as for most, of whom each call has one proof
	}
	var known *fault.Error
	if errors.As(err, &known) && known.Reason == fault.CallerUnauthenticated {
		return 1
	}
	return 2
}

// refused is the answer to evidence that proves nothing.
func refused(message string) error { return fault.New(fault.CallerUnauthenticated, message) }

// maxName is how long a name of a caller is at most without its kind, in bytes: a SPIFFE
// ID may have that many.
const maxName = 2048

// isName reports whether text can be the name of a caller: it is not empty or of spaces alone,
// and everybody who reads it sees all of it.
func isName(text string) bool {
	if strings.TrimSpace(text) == "" || len(text) > maxName || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
