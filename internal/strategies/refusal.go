package strategies

import (
	"slices"

	"github.com/authmaterial/broker/internal/fault"
)

// bodyKind classifies the bodies of answers to token requests.
type bodyKind int

const (
	foreignBody      bodyKind = iota // not a JSON object: HTML, text, nothing, too long, cut off
	plainBody                        // a JSON object without an error
	refusingBody                     // with a registered OAuth error that does not pass by itself
	passingBody                      // with an error that passes by itself
	limitingBody                     // with an error for too many requests
	unregisteredBody                 // with any other error
)

// reasonOf returns why an answer with this status and body holds no token. Gateways, proxies and
// portals answer in the endpoint's place, so an answer refuses the credential only where nobody
// but the endpoint can have written it: docs/adr/0018-who-answered.md. The first case counts.
func reasonOf(status int, kind bodyKind) fault.Reason {
	is := func(statuses ...int) bool { return slices.Contains(statuses, status) }
	switch class := status / 100; {
	case is(429): // RFC 6585, section 4
		return fault.ProviderRateLimited
	case class != 2 && class != 4 && class != 5:
		// No final answer, or one from elsewhere: RFC 9110, sections 15.2 and 15.4.
		return fault.ProviderUnavailable
	case is(407, 421, 502, 504, 511):
		// An intermediary sends these, or a server that does not answer for the host: RFC 9110,
		// sections 15.5.8, 15.5.20, 15.6.3 and 15.6.5; RFC 6585, section 6.
		return fault.ProviderUnavailable
	case kind == limitingBody: // with 403: stacklok/toolhive#5169
		return fault.ProviderRateLimited
	case is(408, 425, 503):
		// These pass by themselves: RFC 9110, sections 15.5.9 and 15.6.4; RFC 8470, section 5.2.
		return fault.ProviderUnavailable
	case kind == refusingBody:
		// RFC 6749, section 5.2; with 200: golang/oauth2#441; with 403: Nanocloud/nanocloud#59.
		return fault.CredentialRejected
	case is(400, 401) && (kind == plainBody || kind == unregisteredBody):
		// 401 without an OAuth error: SendPulse.
		return fault.CredentialRejected
	default:
		return fault.ProviderUnavailable
	}
}

// kindOf returns the kind of a body with this error code. The broker may name the registered
// ones: those of RFC 6749, sections 4.1.2.1 and 5.2, and of the IANA registry "OAuth Extensions
// Error" (RFC 8628, 8707, 9396, 9449).
func kindOf(code string) (kind bodyKind, registered bool) {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
		"invalid_scope", "access_denied", "invalid_target", "invalid_authorization_details", "invalid_dpop_proof",
		"use_dpop_nonce", "expired_token":
		return refusingBody, true
	case "server_error", "temporarily_unavailable", "authorization_pending":
		return passingBody, true
	case "slow_down":
		return limitingBody, true
	// No registry has the others. Slack and API gateways use them for what passes.
	case "fatal_error", "internal_error", "internal_server_error", "request_timeout", "service_unavailable":
		return passingBody, false
	case "rate_limit_exceeded", "rate_limited", "ratelimited", "too_many_requests":
		return limitingBody, false
	default:
		return unregisteredBody, false
	}
}
