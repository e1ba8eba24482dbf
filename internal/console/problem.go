package console

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
	// SignIn is true if the session has ended.
	SignIn bool
	// Part is true if the browser keeps the form.
	Part bool
}

// refusal has the problem of a form that was refused. The views of forms embed it.
type refusal struct {
	Problem *problem // nil for a form that was not refused
}

// fieldProblem is the problem of one field. Its Text is empty if there is none.
type fieldProblem struct{ Name, Text string }

// FieldProblem returns the problem of a field.
func (r refusal) FieldProblem(name string) fieldProblem {
	if r.Problem == nil {
		return fieldProblem{Name: name}
	}
	return fieldProblem{name, r.Problem.Fields[name]}
}

// otherProblems returns the problems of fields that a form does not show, and of single labels.
func (r refusal) otherProblems(isShown func(name string) bool) []string {
	if r.Problem == nil {
		return nil
	}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(r.Problem.Fields)) {
		if !isShown(name) {
			others = append(others, nameLabel(name)+r.Problem.Fields[name])
		}
	}
	return others
}

// nameLines changes the problems of single lines of a field to one problem of the field, which quotes
// those lines.
func (p *problem) nameLines(field string, lines []string) {
	for n, line := range lines {
		at := fmt.Sprintf("%s[%d]", field, n)
		if text, bad := p.Fields[at]; bad {
			delete(p.Fields, at)
			p.Fields[field] = strings.TrimSpace(p.Fields[field] + " " + line + ": " + text)
		}
	}
}

// seeLog follows an error whose reason only the log contains.
const seeLog = "The broker's log has the reason."

var titles = map[connect.Code]struct {
	status int
	title  string
}{
	connect.CodeNotFound:           {http.StatusNotFound, "Not found"},
	connect.CodePermissionDenied:   {http.StatusForbidden, "You may not do this"},
	connect.CodeUnauthenticated:    {http.StatusUnauthorized, "Sign in again"},
	connect.CodeInvalidArgument:    {http.StatusUnprocessableEntity, "Some values must be corrected"},
	connect.CodeAborted:            {http.StatusConflict, "Somebody else changed this credential"},
	connect.CodeAlreadyExists:      {http.StatusConflict, "The ID is taken"},
	connect.CodeFailedPrecondition: {http.StatusConflict, "This is not possible now"},
	connect.CodeResourceExhausted:  {http.StatusTooManyRequests, "Too many requests"},
	connect.CodeUnavailable:        {http.StatusServiceUnavailable, "The broker cannot do this at the moment"},
}

// toProblem returns the problem that describes an error of the API.
func toProblem(err error) problem {
	var known *connect.Error
	if !errors.As(err, &known) {
		return problem{Status: http.StatusInternalServerError, Title: "Something went wrong", Text: seeLog}
	}
	text := sentence(known.Message())
	shown := problem{Status: http.StatusInternalServerError, Title: "Something went wrong", Text: text + " " + seeLog}
	if at, ok := titles[known.Code()]; ok {
		shown.Status, shown.Title, shown.Text = at.status, at.title, text
	}
	switch known.Code() {
	case connect.CodeAborted:
		shown.Changed = true
	case connect.CodeAlreadyExists:
		shown.Fields = map[string]string{"credential_id": text}
	case connect.CodePermissionDenied:
		shown.Text += " The operator of the broker can add a grant to the configuration file."
	}
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

// invalid returns the error, like one of the API, for one field of a form.
func invalid(field, text string) error {
	return withFields(connect.CodeInvalidArgument, map[string]string{field: text})
}

// withFields returns the error, like one of the API, for fields of a form.
func withFields(code connect.Code, fields map[string]string) error {
	var bad errdetails.BadRequest
	for name, text := range fields {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: name, Description: text})
	}
	refused := connect.NewError(code, errors.New("some fields must be corrected"))
	if detail, err := connect.NewErrorDetail(&bad); err == nil {
		refused.AddDetail(detail)
	}
	return refused
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
