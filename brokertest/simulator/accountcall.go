package simulator

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/authmaterial/broker/internal/catalog"
)

// materials returns the variables with which an API call may be decorated. The caller must hold
// a.mutex.
func (a *Account) materials(r *http.Request) (all []variables) {
	now := a.clock.Now()
	switch {
	case a.method.TokenRequest != nil:
		a.tokens = slices.DeleteFunc(a.tokens, func(token accountToken) bool { return !now.Before(token.end) })
		for _, token := range a.tokens {
			all = append(all, token.variables)
		}
	case a.rejected:
	case a.method.JWT != nil:
		signed := a.withJWT(a.method.JWT, a.values, textsOf(r, nil))
		return slices.DeleteFunc(signed, func(values variables) bool { return a.jwts[values[catalog.JWTVariable]] })
	default:
		all = []variables{a.values}
	}
	return all
}

// isDecorated reports whether a request has the headers and query parameters that the definition
// produces with the given values, and none that it leaves out.
func (a *Account) isDecorated(r *http.Request, values variables) bool {
	query, err := url.ParseQuery(r.URL.RawQuery)
	return err == nil &&
		hasPlacements(a.method.Headers, values, r.Header.Values) &&
		hasPlacements(a.method.QueryParams, values, func(name string) []string { return query[name] })
}

func hasPlacements(placements []catalog.Placement, values variables, find func(name string) []string) bool {
	return !slices.ContainsFunc(placements, func(p catalog.Placement) bool {
		found := find(p.Name)
		value, set, err := p.Value.Evaluate(values)
		switch {
		case err != nil:
			return true
		case p.OnlyIfAbsent:
			return set && len(found) == 0 // the caller may have set another value
		case !set:
			return len(found) > 0
		default:
			return len(found) != 1 || found[0] != value
		}
	})
}

// hasNames reports whether a request has the headers and query parameters of the account's material,
// whatever their values are.
func (a *Account) hasNames(r *http.Request) bool {
	values, query := a.Values(), r.URL.Query()
	lacks := func(placements []catalog.Placement, find func(name string) []string) bool {
		return slices.ContainsFunc(placements, func(p catalog.Placement) bool {
			_, set, err := p.Value.Evaluate(values)
			return (set || err != nil) != (len(find(p.Name)) > 0) // an error means that a token is missing
		})
	}
	return !lacks(a.method.Headers, r.Header.Values) &&
		!lacks(a.method.QueryParams, func(name string) []string { return query[name] })
}

// decideCall returns the answer to an API call, and whether the call is authenticated.
func (a *Account) decideCall(r *http.Request) (answer, bool) {
	accepted := a.Accepts(r)
	if a.isVerification(r) {
		outcome := catalog.Refused
		if accepted {
			outcome = catalog.Accepted
		}
		if described, ok := verificationAnswer(a.method.Verification.Answers, outcome); ok {
			return described, accepted
		}
	}
	if accepted {
		return jsonAnswer(http.StatusOK, fields{}), true
	}
	return rejection(a.method), false
}

// rejection returns an answer with which the provider rejects auth material.
func rejection(method *catalog.AuthMethod) answer {
	switch {
	case len(method.RejectedStatuses) > 0:
		return jsonAnswer(method.RejectedStatuses[0], fields{"error": "unauthorized"})
	case len(method.RejectedWhen) > 0:
		condition := method.RejectedWhen[0]
		return answersTo(condition, condition.Statuses[0])[0]
	default:
		return jsonAnswer(http.StatusUnauthorized, fields{"error": "unauthorized"})
	}
}

// isVerification reports whether a request is the one of the definition's verification.
func (a *Account) isVerification(r *http.Request) bool {
	definition := a.method.Verification
	if definition == nil || r.Method != definition.Method {
		return false
	}
	expected, err := url.Parse("https://" + hostOf(r) + definition.Path)
	if definition.URL != nil {
		expected, err = definition.URL.Evaluate(a.Values(), a.allows)
	}
	if err != nil || !isAt(r, expected) {
		return false
	}
	got := r.URL.Query()
	for name, values := range expected.Query() {
		if !slices.Equal(got[name], values) {
			return false
		}
	}
	return true
}

// isAt reports whether the host and the path of a request are those of a URL.
func isAt(r *http.Request, expected *url.URL) bool {
	path := expected.EscapedPath()
	if path == "" {
		path = "/"
	}
	return hostOf(r) == hostOf(&http.Request{Host: expected.Host}) && r.URL.EscapedPath() == path
}
