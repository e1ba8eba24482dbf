package client

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// maxJSON is the size of the largest body that is compared with a condition, in bytes.
const maxJSON = 64 << 10

// Rejected reports whether a provider's response to a request with a decoration means that the
// provider rejects the decoration: the response's status is one of rejected_statuses, or the
// response matches a condition of rejected_when. A program that uses Apply then calls
// ReportRejection.
//
// Rejected reads up to 64 KiB of the body if a condition for the body and this status exists. The
// request's context limits the time. Afterwards, response.Body returns the body from its beginning,
// and an error at the same place.
func Rejected(response *http.Response, decoration *authmaterialv1.AuthDecoration) bool {
	status := int32(response.StatusCode) //nolint:gosec // a status fits into 32 bits: in net/http, it has three digits
	if slices.Contains(decoration.GetRejectedStatuses(), status) {
		return true
	}
	var undecided []*authmaterialv1.JsonCondition
	for _, condition := range decoration.GetRejectedWhen() {
		switch {
		case !slices.Contains(condition.GetStatuses(), status), !hasHeaders(response.Header, condition.GetHeaders()):
		case condition.GetJson() == nil:
			return true
		default:
			undecided = append(undecided, condition.GetJson())
		}
	}
	if undecided == nil {
		return false
	}
	body, err := jsonpath.Decode(peek(response))
	return err == nil && slices.ContainsFunc(undecided, func(condition *authmaterialv1.JsonCondition) bool {
		return hasMembers(body, condition.GetMembers())
	})
}

func hasHeaders(header http.Header, conditions []*authmaterialv1.HeaderCondition) bool {
	return !slices.ContainsFunc(conditions, func(condition *authmaterialv1.HeaderCondition) bool {
		return strings.Join(header.Values(condition.GetName()), ", ") != condition.GetValue()
	})
}

func hasMembers(body any, conditions []*authmaterialv1.JsonMemberCondition) bool {
	return !slices.ContainsFunc(conditions, func(condition *authmaterialv1.JsonMemberCondition) bool {
		var want any
		switch value := condition.GetValue().(type) {
		case *authmaterialv1.JsonMemberCondition_StringValue:
			want = value.StringValue
		case *authmaterialv1.JsonMemberCondition_NumberValue:
			want = value.NumberValue
		case *authmaterialv1.JsonMemberCondition_BoolValue:
			want = value.BoolValue
		}
		value, found := jsonpath.Path(condition.GetPath()).Find(body)
		return !found || want == nil || jsonpath.Equal(value, want) == condition.GetNegated()
	})
}

// peek returns the body of a response, and makes the response return the body again. The result is
// nil if the body has more than maxJSON bytes or is not UTF-8, if reading it fails, and for a stream of
// events, which may never end.
func peek(response *http.Response) []byte {
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.Body == nil || response.ContentLength > maxJSON || mediaType == "text/event-stream" {
		return nil
	}
	start, err := io.ReadAll(io.LimitReader(response.Body, maxJSON+1))
	rest := io.Reader(response.Body)
	if err != nil {
		rest = failingReader{err}
	}
	response.Body = &peekedBody{io.MultiReader(bytes.NewReader(start), rest), response.Body}
	if err != nil || len(start) > maxJSON || !utf8.Valid(start) {
		return nil
	}
	return start
}

// peekedBody is a body whose beginning has been read.
type peekedBody struct {
	io.Reader
	io.Closer
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
