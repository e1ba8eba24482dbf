package strategies

import "slices"

// meaning is what the broker takes an answer to a token request for.
type meaning int

const (
	// unavailable is passing trouble. It is the zero value: an answer that no rule knows
	// refuses nothing.
	unavailable meaning = iota
	granted             // a token, if the body has a usable one
	refused             // the token endpoint itself refuses the credential
	limited             // too many requests
)

// bodyKind sorts the bodies of answers.
type bodyKind int

const (
	foreignBody      bodyKind = iota // no JSON object: HTML, text, nothing, too long, cut off
	plainBody                        // a JSON object without an error
	refusingBody                     // with a registered OAuth error that does not pass by itself
	passingBody                      // with an error that passes by itself
	limitingBody                     // with an error that says that there are too many requests
	unregisteredBody                 // with any other error
	bodyKinds                        // how many there are
)

// rule is a row of the answer table.
type rule struct {
	matches func(status int) bool
	means   [bodyKinds]meaning // of a body of each kind
	// source is a standard, or a report of a provider that does so.
	source string
}

// always returns the row in which every kind of body has this meaning.
func always(m meaning) (row [bodyKinds]meaning) {
	for kind := range row {
		row[kind] = m
	}
	return row
}

// answerTable decides what an answer means. The first rule that matches counts. Gateways,
// proxies and portals answer in the endpoint's place, so an answer refuses the credential
// only where nobody but the endpoint can have written it: docs/adr/0018-who-answered.md.
var answerTable = []rule{
	{
		matches: statuses(429),
		means:   always(limited),
		source:  "RFC 6585, section 4",
	},
	{
		matches: statuses(407, 421, 502, 504, 511),
		means:   always(unavailable),
		source: "an intermediary, or a server that does not answer for the host, sends these: " +
			"RFC 9110, sections 15.5.8, 15.5.20, 15.6.3 and 15.6.5; RFC 6585, section 6",
	},
	{
		matches: statuses(408, 425, 503),
		means:   [bodyKinds]meaning{limitingBody: limited},
		source:  "these pass by themselves: RFC 9110, sections 15.5.9 and 15.6.4; RFC 8470, section 5.2",
	},
	{
		matches: statuses(400, 401),
		means: [bodyKinds]meaning{
			plainBody: refused, refusingBody: refused, unregisteredBody: refused,
			limitingBody: limited,
		},
		source: "RFC 6749, section 5.2; an object without an OAuth error, with 401: SendPulse; " +
			"400 for trouble that passes: Slack's internal_error",
	},
	{
		matches: class(2),
		means:   [bodyKinds]meaning{plainBody: granted, refusingBody: refused, limitingBody: limited},
		source:  "RFC 6749, section 5.1; errors with 200: golang/oauth2#441",
	},
	{
		matches: class(4, 5),
		means:   [bodyKinds]meaning{refusingBody: refused, limitingBody: limited},
		source: "an OAuth error with 403: Nanocloud/nanocloud#59; a gateway's page, or a limit, with 403: " +
			"stacklok/toolhive#5169",
	},
	{
		matches: func(int) bool { return true },
		means:   always(unavailable),
		source: "no final answer, or one from elsewhere: RFC 9110, sections 15.2 and 15.4; " +
			"RFC 6749, section 5, knows none of these",
	},
}

// decide looks an answer up in the table.
func decide(status int, kind bodyKind) meaning {
	first := slices.IndexFunc(answerTable, func(r rule) bool { return r.matches(status) })
	return answerTable[first].means[kind] // the last one matches all
}

// statuses matches each of these.
func statuses(those ...int) func(int) bool {
	return func(status int) bool { return slices.Contains(those, status) }
}

// class matches all statuses that begin with one of these digits.
func class(digits ...int) func(int) bool {
	return func(status int) bool { return slices.Contains(digits, status/100) }
}

// registered are the error codes that a token endpoint can send, and what they mean. The
// broker may name them in messages. They are those of RFC 6749 (sections 4.1.2.1 and 5.2),
// and of the IANA registry "OAuth Extensions Error" (RFC 8628, 8707, 9396, 9449).
var registered = map[string]bodyKind{
	"invalid_request":               refusingBody,
	"invalid_client":                refusingBody,
	"invalid_grant":                 refusingBody,
	"unauthorized_client":           refusingBody,
	"unsupported_grant_type":        refusingBody,
	"invalid_scope":                 refusingBody,
	"access_denied":                 refusingBody,
	"invalid_target":                refusingBody,
	"invalid_authorization_details": refusingBody,
	"invalid_dpop_proof":            refusingBody,
	"use_dpop_nonce":                refusingBody,
	"expired_token":                 refusingBody,
	"server_error":                  passingBody,
	"temporarily_unavailable":       passingBody,
	"authorization_pending":         passingBody,
	"slow_down":                     limitingBody,
}

// vendorWords are error codes that no registry has, and that vendors use for what passes:
// Slack's common errors, and those of API gateways. Their text is never named.
var vendorWords = map[string]bodyKind{
	"fatal_error":           passingBody,
	"internal_error":        passingBody,
	"internal_server_error": passingBody,
	"request_timeout":       passingBody,
	"service_unavailable":   passingBody,
	"rate_limit_exceeded":   limitingBody,
	"rate_limited":          limitingBody,
	"ratelimited":           limitingBody,
	"too_many_requests":     limitingBody,
}
