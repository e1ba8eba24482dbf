package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/curlcommand"
)

// readSecrets adds every secret of the command to the definition.
func (r *reader) readSecrets() error {
	if user := r.command.User; user != nil && r.command.Header("Authorization") == "" {
		r.placeHeader("Authorization", r.basic(*user))
	}
	for _, header := range r.ordered() {
		if hasWord(header.Name, signatures) {
			return errSigned("a header of the command")
		}
		id := fieldID(header.Name, "api_key")
		if strings.EqualFold(header.Name, "Authorization") {
			id = "api_key"
		}
		if r.places(header.Name) || !namesSecret(header.Name) {
			continue
		}
		value, err := r.authorization(header.Value, id)
		if err != nil {
			return err
		}
		r.placeHeader(header.Name, value)
	}
	for _, param := range r.command.Query {
		switch {
		case hasWord(param.Name, signatures):
			return errSigned("a query parameter of the command")
		case namesSecret(param.Name) && !r.placesParam(param.Name):
			r.placeParam(param.Name, "${"+r.secret(fieldID(param.Name, "api_key"), param.Value)+"}")
		}
	}
	if cookie := r.command.Header("Cookie"); cookie != "" && len(*r.headers)+len(*r.params) == 0 {
		r.placeHeader("Cookie", "${"+r.secret("cookie", cookie)+"}")
		r.Method.Notes = append(r.Method.Notes, "The command has only cookies. If they belong to a person's session in a browser, they expire: look for an API key.")
	}
	return nil
}

// ordered returns the headers of the command. If a token is to be placed, the headers that probably
// have it come first.
func (r *reader) ordered() []curlcommand.Pair {
	if !r.token {
		return r.command.Headers
	}
	rank := func(header curlcommand.Pair) int {
		switch {
		case strings.EqualFold(header.Name, "Authorization"):
			return 0
		case slices.Contains(words(header.Name), "token"):
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(r.command.Headers), func(a, b curlcommand.Pair) int { return rank(a) - rank(b) })
}

// readIdentifiers adds the headers and query parameters that identify an account beside a secret.
func (r *reader) readIdentifiers() {
	for _, header := range r.command.Headers {
		switch {
		case r.places(header.Name) || isStandard(header.Name):
		case namesVersion(header.Name) && version.MatchString(header.Value):
			*r.headers = append(*r.headers, Placement{header.Name, header.Value, true})
		case namesIdentifier(header.Name):
			r.placeHeader(header.Name, "${"+r.public(fieldID(header.Name, "account"), header.Value)+"}")
		default:
			r.skipped = append(r.skipped, fmt.Sprintf("%+q", header.Name))
		}
	}
	if len(*r.params) == 0 {
		return
	}
	for _, param := range r.command.Query {
		if accountParams[strings.Join(words(param.Name), "_")] && !r.placesParam(param.Name) {
			r.placeParam(param.Name, "${"+r.public(fieldID(param.Name, "account"), param.Value)+"}")
		}
	}
}

// version matches the value of a header that selects a version of an API.
var version = regexp.MustCompile(`^v?[0-9]{1,4}([.-][0-9]{1,4}){0,3}(-[a-z]{1,10})?$`)

// accountParams are the query parameters that identify an account if another parameter is a secret.
var accountParams = map[string]bool{
	"client_id": true, "app_id": true, "application_id": true, "api_user": true, "username": true, "user": true, "login": true,
}

// isStandard reports whether a header belongs to the call and not to the authentication.
func isStandard(name string) bool {
	name = strings.ToLower(name)
	for _, start := range []string{"accept", "content-", "sec-", "if-", "upgrade", "x-requested-with", "trace"} {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	switch name {
	case "host", "user-agent", "referer", "origin", "connection", "cache-control", "pragma", "range", "expect", "te", "dnt", "priority":
		return true
	}
	return hasWord(name, otherKeys)
}
