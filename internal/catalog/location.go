package catalog

import (
	"net/http"
	"regexp"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// wholeBody is the word for the whole body in place of a path.
const wholeBody = "BODY"

// Location is the location of a value in an answer: exactly one of its fields is set.
type Location struct {
	// Path is the path of a text, number or boolean in the body in JSON.
	Path jsonpath.Path
	// Body is true for the whole body without the white space around it.
	Body bool
	// Cookie is the name of a cookie that the answer sets. The last one of that name counts.
	Cookie string
	// Header is the name of a header.
	Header string
}

// String describes the location to people.
func (l Location) String() string {
	switch {
	case l.Body:
		return "body"
	case l.Cookie != "":
		return "cookie " + l.Cookie
	case l.Header != "":
		return "header " + l.Header
	default:
		return l.Path.String()
	}
}

// Find returns the value in an answer with the body `text`. The argument `body` is the result of
// jsonpath.Decode, or nil. If the value is missing or empty, Find returns false.
func (l Location) Find(header http.Header, text []byte, body any) (value string, found bool) {
	switch {
	case l.Body:
		value = strings.TrimSpace(string(text))
	case l.Header != "":
		value = header.Get(l.Header)
	case l.Cookie != "":
		// A later cookie replaces an earlier one (RFC 6265, section 5.3), and servers remove a cookie with a
		// date of 1970.
		for _, cookie := range (&http.Response{Header: header}).Cookies() {
			if isRemoval := cookie.MaxAge < 0 || cookie.Value == "" || cookie.Expires.Year() == 1970; cookie.Name == l.Cookie && !isRemoval {
				value = cookie.Value
			}
		}
	default:
		value, _ = jsonpath.Text(l.Path.Find(body))
	}
	return value, value != ""
}

// MarshalJSON returns the location in the form of the definition.
func (l Location) MarshalJSON() ([]byte, error) {
	switch {
	case l.Body:
		return marshal(wholeBody)
	case l.Cookie != "":
		return marshal(map[string]string{"cookie": l.Cookie})
	case l.Header != "":
		return marshal(map[string]string{"header": l.Header})
	default:
		return marshal(l.Path.String())
	}
}

// readLocation reads a location, or returns nil if the value is absent.
func readLocation(value yamlfile.Value) *Location {
	switch {
	case !value.Exists():
		return nil
	case value.IsMapping():
		entry, ok := value.Mapping("cookie", "header").Only("must have either the key \"cookie\" or the key \"header\"")
		if !ok {
			return nil
		}
		name := entry.Text(maxLine)
		if name != "" && !httpguts.ValidHeaderFieldName(name) {
			entry.Problemf("must be the name of a cookie or a header")
		}
		if entry.Name() == "cookie" {
			return &Location{Cookie: name}
		}
		return &Location{Header: name}
	}
	text := value.Text(yamlfile.MaxText)
	if text == wholeBody {
		return &Location{Body: true}
	}
	path, err := jsonpath.Parse(text)
	if err != nil && text != "" {
		value.Problemf("%s", err)
	}
	return &Location{Path: path}
}

// Values are the locations of values in an answer, by the names that expressions use for them.
type Values map[string]Location

var identifierPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

const (
	identifierForm = "must be 1 to 63 lower-case letters, digits and underscores, and begin with a letter"
	reservedWord   = "use another name: this name is a reserved word of the expression language"
)

// readValues also returns the names of the variables, which begin with the given prefix and a dot.
func readValues(mapping yamlfile.Value, prefix string) (values Values, variables []string) {
	for _, entry := range readEntries(mapping) {
		name := entry.Key().Match(identifierPattern, identifierForm)
		location := readLocation(entry)
		if name == "" || location == nil {
			continue
		}
		if !expression.ValidName(name) {
			entry.Key().Problemf(reservedWord)
		}
		if values == nil {
			values = Values{}
		}
		values[name], variables = *location, append(variables, prefix+"."+name)
	}
	return values, variables
}
