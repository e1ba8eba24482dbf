package console

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// problem is an error that people read.
type problem struct {
	Status int
	Title  string
	Text   string // sentences
	// Fields has the problems of fields of a form, by name, such as `values.client_id`.
	Fields map[string]string
	// Changed is true if somebody else has changed the credential.
	Changed bool
}

var titles = map[connect.Code]struct {
	status int
	title  string
}{
	connect.CodeNotFound:           {http.StatusNotFound, "Not found"},
	connect.CodePermissionDenied:   {http.StatusForbidden, "You may not do this"},
	connect.CodeUnauthenticated:    {http.StatusUnauthorized, "Sign in again"},
	connect.CodeInvalidArgument:    {http.StatusUnprocessableEntity, "Some values need a change"},
	connect.CodeAborted:            {http.StatusConflict, "Somebody else changed this credential"},
	connect.CodeAlreadyExists:      {http.StatusConflict, "The ID is taken"},
	connect.CodeFailedPrecondition: {http.StatusConflict, "This is not possible now"},
	connect.CodeResourceExhausted:  {http.StatusTooManyRequests, "Too many requests"},
	connect.CodeUnavailable:        {http.StatusServiceUnavailable, "The broker cannot do this at the moment"},
}

// toProblem returns the problem of an error of the API.
func toProblem(err error) problem {
	var known *connect.Error
	if !errors.As(err, &known) {
		return problem{Status: http.StatusInternalServerError, Title: "Something went wrong", Text: "The broker's log has the reason."}
	}
	shown := problem{Status: http.StatusInternalServerError, Title: "Something went wrong", Text: sentence(known.Message())}
	if at, ok := titles[known.Code()]; ok {
		shown.Status, shown.Title = at.status, at.title
	}
	shown.Changed = known.Code() == connect.CodeAborted
	for _, detail := range known.Details() {
		value, err := detail.Value()
		if err != nil {
			continue
		}
		if bad, ok := value.(*errdetails.BadRequest); ok {
			shown.Fields = map[string]string{}
			for _, violation := range bad.GetFieldViolations() {
				shown.Fields[violation.GetField()] = sentence(violation.GetDescription())
			}
		}
	}
	return shown
}

// sentence returns a text with a capital letter and a full stop.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.ContainsRune(".!?", rune(text[len(text)-1])) {
		text += "."
	}
	return text
}
