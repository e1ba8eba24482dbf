package catalog

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/yamlfile"
)

// Rotation is what happens to the old secret of a credential when the provider generates a new one.
type Rotation string

// These are the possible effects of a new secret on the old secret.
const (
	RotationUnknown         Rotation = "UNKNOWN"          // the provider does not document the effect
	RotationOverlapping     Rotation = "OVERLAPPING"      // the old secret stays valid
	RotationRevokesPrevious Rotation = "REVOKES_PREVIOUS" // the old secret stops working at once
)

// Outcome is what an answer of a provider shows about a credential.
type Outcome string

// These are the possible outcomes of a verification.
const (
	Accepted     Outcome = "ACCEPTED"     // the provider accepts the credential
	Refused      Outcome = "REFUSED"      // the provider refuses the credential
	Inconclusive Outcome = "INCONCLUSIVE" // the answer shows neither
)

// Verification defines a decorated request whose answer shows whether the provider accepts a
// credential. Either URL or Path is set.
type Verification struct {
	// Method is GET, HEAD or POST. The request has no body.
	Method string `json:"method"`
	// URL is an https URL, or an http URL whose host is a literal loopback address. The host of URL
	// is one of the provider's allowed hosts. URL is nil if Path is set.
	URL *URL `json:"url,omitempty"`
	// Path is a path, optionally with a query. The request for this path is sent by https to each
	// allowed host of the credential in turn, until a host accepts the credential.
	Path string `json:"path,omitempty"`
	// AllowPrivateAddresses lets the host have addresses outside the public internet.
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
	// Answers has at least one entry. The first entry that matches the provider's answer decides.
	// If no entry matches, the answer is inconclusive.
	Answers []VerificationAnswer `json:"answers"`
}

// VerificationAnswer is one kind of answer to a verification request, and its meaning.
type VerificationAnswer struct {
	// Condition.Statuses has at least one status.
	Condition
	Outcome Outcome `json:"outcome"`
	// Explanation tells a person what the answer means and what to do. Explanation may be empty.
	Explanation string `json:"explanation,omitempty"`
}

func readRotation(value yamlfile.Value) Rotation {
	text := value.OneOf(string(RotationOverlapping), string(RotationRevokesPrevious), string(RotationUnknown))
	return Rotation(cmp.Or(text, string(RotationUnknown)))
}

func defineVerification(item yamlfile.Value, scope *scope, provider *Provider) *Verification {
	item.Mapping("method", "url", "path", "allow_private_addresses", "answers").Requires("answers")
	item.Excludes("path", "url")
	if !item.Get("url").Exists() && !item.Get("path").Exists() {
		item.Problemf("needs url or path; with path, each allowed host of the credential is asked")
	}
	verification := &Verification{
		Method:                http.MethodGet,
		Path:                  readPath(item.Get("path")),
		AllowPrivateAddresses: item.Get("allow_private_addresses").Bool(false),
	}
	if method := item.Get("method").OneOf(http.MethodGet, http.MethodHead, http.MethodPost); method != "" {
		verification.Method = method
	}
	if url := item.Get("url"); url.Exists() {
		verification.URL = readURL(url, scope, provider.AnyHost)
		if len(provider.AllowedHosts) > 0 && !verification.URL.isAtOneOf(provider.AllowedHosts) {
			url.Problemf("the host, with its port, must be one of allowed_hosts")
		}
	}
	for _, answer := range item.Get("answers").List(1, 20) {
		verification.Answers = append(verification.Answers, defineAnswer(answer, verification.Method))
	}
	return verification
}

func defineAnswer(item yamlfile.Value, method string) VerificationAnswer {
	item.Mapping(append(slices.Clone(conditionKeys), "outcome", "explanation")...).Requires("statuses", "outcome")
	if method == http.MethodHead {
		item.Get("json").Key().Problemf("the answer to HEAD has no body: use GET")
	}
	return VerificationAnswer{
		Condition:   defineCondition(item),
		Outcome:     Outcome(item.Get("outcome").OneOf(string(Accepted), string(Refused), string(Inconclusive))),
		Explanation: item.Get("explanation").FreeText(1, maxParagraph),
	}
}

func readPath(value yamlfile.Value) string {
	text := value.Text(maxURL)
	if text == "" {
		return ""
	}
	if _, err := url.ParseRequestURI("https://host.test" + text); err != nil || text[0] != '/' || strings.ContainsAny(text, " #") {
		value.Problemf("must be a path such as /api/v1/me, optionally with a query")
	}
	return text
}
