package strategies

import (
	"slices"

	"github.com/authmaterial/broker/internal/fault"
)

// reason returns the reason why the answer to a token request contains no token. Because gateways,
// proxies and captive portals may answer in place of the token endpoint, an answer counts as a
// rejection of the credential only if nothing but the token endpoint can have sent it: see
// docs/adr/0018-refused-credentials.md.
func (a *tokenAnswer) reason() fault.Reason {
	is := func(statuses ...int) bool { return slices.Contains(statuses, a.status) }
	switch class := a.status / 100; {
	case a.refused:
		return fault.CredentialRejected
	case is(429): // RFC 6585, section 4, defines the status 429 for too many requests
		return fault.ProviderRateLimited
	case class != 2 && class != 4 && class != 5:
		// The answer is a redirect or not final (RFC 9110, sections 15.2 and 15.4).
		return fault.ProviderUnavailable
	case is(407, 421, 502, 504, 511):
		// The answer comes from an intermediary, or from a server that is not responsible for the
		// host (RFC 9110, sections 15.5.8, 15.5.20, 15.6.3 and 15.6.5; RFC 6585, section 6).
		return fault.ProviderUnavailable
	case a.meaning == fault.ProviderRateLimited: // some providers limit the rate with status 403: stacklok/toolhive#5169
		return fault.ProviderRateLimited
	case is(408, 425, 503):
		// The failure is temporary (RFC 9110, sections 15.5.9 and 15.6.4; RFC 8470, section 5.2).
		return fault.ProviderUnavailable
	case a.meaning == fault.CredentialRejected:
		// An OAuth error can come with the statuses 400 and 401 (RFC 6749, section 5.2), 200
		// (golang/oauth2#441) and 403 (Nanocloud/nanocloud#59).
		return fault.CredentialRejected
	case is(400, 401) && a.isObject && a.meaning == "":
		// When SendPulse rejects a credential, its answer has no OAuth error code. Many other
		// providers use codes of their own.
		return fault.CredentialRejected
	default:
		return fault.ProviderUnavailable
	}
}

// meaningOf returns the meaning of an OAuth error code, or "" for an unknown code. Only a
// registered code may be quoted: one of RFC 6749, sections 4.1.2.1 and 5.2, or of the IANA registry
// "OAuth Extensions Error" (RFC 8628, 8707, 9396, 9449).
func meaningOf(code string) (meaning fault.Reason, registered bool) {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
		"invalid_scope", "access_denied", "invalid_target", "invalid_authorization_details", "invalid_dpop_proof",
		"use_dpop_nonce", "expired_token":
		return fault.CredentialRejected, true
	case "server_error", "temporarily_unavailable", "authorization_pending":
		return fault.ProviderUnavailable, true
	case "slow_down":
		return fault.ProviderRateLimited, true
	// Slack and API gateways use these codes for temporary failures.
	case "fatal_error", "internal_error", "internal_server_error", "request_timeout", "service_unavailable":
		return fault.ProviderUnavailable, false
	case "rate_limit_exceeded", "rate_limited", "ratelimited", "too_many_requests":
		return fault.ProviderRateLimited, false
	default:
		return "", false
	}
}
