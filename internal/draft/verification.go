package draft

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/authmaterial/broker/internal/curlcommand"
)

// Notes about verifications.
const (
	verifies     = "The request of the command: choose one that changes nothing, costs little, and succeeds only with a valid key."
	noGet        = "The command is no GET request, so it cannot verify a credential. A `verification` needs a request that changes nothing."
	ownURL       = "The URL of the command has a part that may belong to one account, so it is no part of this file. A `verification` needs a URL for all accounts."
	insecure     = "A `verification` needs an https URL."
	noAPIRequest = "A `verification` needs a request that changes nothing, and succeeds only with a valid token."
)

// readVerification uses the request of the command for verifying credentials, if it can.
func (r *reader) readVerification() {
	m := &r.Method
	switch c := r.command; {
	case c.Method != http.MethodGet || c.Body.Format != curlcommand.NoBody:
		m.VerificationNotes = []string{noGet}
	case !secure(c.URL):
		m.VerificationNotes = []string{insecure}
	default:
		m.VerificationNotes = []string{ownURL}
		if target, ok := r.verificationURL(); ok {
			m.VerificationURL, m.VerificationNotes = target, []string{verifies}
		}
	}
}

// verificationURL returns the URL of the command without the parameters of the auth method. A value of
// a field becomes an expression. The result is false if another part of the URL may be a secret or a
// placeholder.
func (r *reader) verificationURL() (string, bool) {
	u, clean := r.command.URL, true
	plain := func(part string, escape func(string) string) string {
		for _, field := range r.Method.Fields {
			if value := r.values[field.ID]; len(value) >= minReplaced && strings.Contains(part, value) {
				before, after, _ := strings.Cut(part, value)
				clean = clean && !r.isOwn(before) && !r.isOwn(after)
				return escape(before) + "${" + field.ID + "}" + escape(after)
			}
		}
		clean = clean && !r.isOwn(part)
		return escape(part)
	}
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, segment := range segments {
		if unescaped, err := url.PathUnescape(segment); err == nil {
			segment = unescaped
		}
		segments[i] = plain(segment, url.PathEscape)
	}
	var query []string
	for _, param := range r.command.Query {
		if !r.placesParam(param.Name) {
			query = append(query, plain(param.Name, url.QueryEscape)+"="+plain(param.Value, url.QueryEscape))
		}
	}
	text := u.Scheme + "://" + r.Hosts[0] + "/" + strings.Join(segments, "/")
	if query != nil {
		text += "?" + strings.Join(query, "&")
	}
	return text, clean
}

const minReplaced = 6 // characters

// isOwn reports whether a part of a URL may belong to one account.
func (r *reader) isOwn(part string) bool {
	if ownPart(part) {
		return true
	}
	for _, value := range r.values {
		if len(value) > 2 && strings.Contains(part, value) {
			return true
		}
	}
	return false
}

var (
	placeholder = regexp.MustCompile(`[${}<>\[\]]|^:|(?i:your)|[^ -~]`)
	randomPart  = regexp.MustCompile(`[A-Za-z0-9]{24}|[0-9]{7}|@`)
	runs        = regexp.MustCompile(`[A-Za-z0-9]{10,}`)
	digits      = regexp.MustCompile(`[0-9]`)
	letters     = regexp.MustCompile(`[A-Za-z]`)
)

// ownPart reports whether a text may be a secret, the identifier of an account, or a placeholder for
// one of these. It errs on the side of secrets.
func ownPart(text string) bool {
	if placeholder.MatchString(text) || randomPart.MatchString(text) {
		return true
	}
	for _, run := range runs.FindAllString(text, -1) {
		if letters.MatchString(run) && len(digits.FindAllString(run, 2)) == 2 {
			return true
		}
	}
	return strings.Count(text, "-") == 4 && len(text) == len("00000000-0000-0000-0000-000000000000")
}
