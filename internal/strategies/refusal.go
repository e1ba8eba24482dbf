package strategies

import (
	"slices"

	"github.com/authmaterial/broker/internal/fault"
)

// reason returns why the answer contains no token. Gateways, proxies and portals answer in the
// endpoint's place, so an answer refuses the credential only if nobody but the endpoint can have
// written it: docs/adr/0018-refused-credentials.md. The first case that applies counts.
func (a *tokenAnswer) reason() fault.Reason {
	is := func(statuses ...int) bool { return slices.Contains(statuses, a.status) }
	switch class := a.status / 100; {
	case is(429): // RFC 6585, section 4
		return fault.ProviderRateLimited
	case class != 2 && class != 4 && class != 5:
		// Not a final answer, or one from elsewhere: RFC 9110, sections 15.2 and 15.4.
		return fault.ProviderUnavailable
	case is(407, 421, 502, 504, 511):
		// From an intermediary, or a server that is not responsible for the host: RFC 9110,
		// sections 15.5.8, 15.5.20, 15.6.3 and 15.6.5; RFC 6585, section 6.
		return fault.ProviderUnavailable
	case a.meaning == fault.ProviderRateLimited: // with 403: stacklok/toolhive#5169
		return fault.ProviderRateLimited
	case is(408, 425, 503):
		// Temporary: RFC 9110, sections 15.5.9 and 15.6.4; RFC 8470, section 5.2.
		return fault.ProviderUnavailable
	case a.meaning == fault.CredentialRejected:
		// RFC 6749, section 5.2; with 200: golang/oauth2#441; with 403: Nanocloud/nanocloud#59.
		return fault.CredentialRejected
	case is(400, 401) && a.fields != nil && a.meaning == "":
		// Without an OAuth error: SendPulse. Many providers invent their own errors.
		return fault.CredentialRejected
	default:
		return fault.ProviderUnavailable
	}
}

// meaningOf returns the meaning of an error code, or "" for an unknown one. The broker may quote
// registered codes: those of RFC 6749, sections 4.1.2.1 and 5.2, and of the IANA registry "OAuth
// Extensions Error" (RFC 8628, 8707, 9396, 9449).
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
	// Slack and API gateways use these for temporary trouble.
	case "fatal_error", "internal_error", "internal_server_error", "request_timeout", "service_unavailable":
		return fault.ProviderUnavailable, false
	case "rate_limit_exceeded", "rate_limited", "ratelimited", "too_many_requests":
		return fault.ProviderRateLimited, false
	default:
		return "", false
	}
}
