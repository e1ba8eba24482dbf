package server

import (
	"net/http"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
)

// remoteKey is the key of a bool in a request's context: whether other machines can reach
// the listener. Where the request itself comes from says nothing, as it can come through a
// proxy on this machine.
type remoteKey struct{}

func isFromAnywhere(r *http.Request) bool {
	remote, _ := r.Context().Value(remoteKey{}).(bool)
	return remote
}

// bringsEvidence reports whether a request has anything that may prove who makes it.
func bringsEvidence(r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// identify says why nobody knows who makes a request. With insecure_allow_remote, where no
// caller is authenticated, everybody is known.
func (s *Server) identify(r *http.Request) error {
	caller, err := s.callerOf(r)
	if err == nil && caller.Method == authentication.MethodNone && !s.listen.InsecureAllowRemote {
		return errNobody
	}
	return err
}

// identified lets a handler answer authenticated callers alone, whoever they are, where
// other machines can reach the listener.
func (s *Server) identified(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isFromAnywhere(r) {
			inner.ServeHTTP(w, r)
			return
		}
		switch err := s.identify(r); {
		case err == nil:
			inner.ServeHTTP(w, r)
		case fault.From(err).Reason == fault.AuthenticationUnavailable:
			answer(w, http.StatusServiceUnavailable, fault.From(err).Message)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, fault.From(err).Message)
		}
	})
}
