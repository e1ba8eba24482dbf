package verification

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// answer is a complete answer of a provider.
type answer struct {
	status   int
	header   http.Header
	value    any // the body if it is JSON
	isJSON   bool
	isHTML   bool
	tooLarge bool
}

var errNoAnswer = errors.New("not an answer")

func readAnswer(response *http.Response) (answer, error) {
	if response.StatusCode/100 == 1 { // after the status 101 (Switching Protocols), the body never ends
		return answer{}, errNoAnswer
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerSize+1))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, tooLarge: len(body) > maxAnswerSize}
	if value, err := jsonpath.Decode(body); err == nil && !a.tooLarge {
		a.value, a.isJSON = value, true
	}
	// Some APIs label JSON as HTML, so a body in JSON is no HTML page, and neither is an empty
	// body.
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	a.isHTML = strings.HasPrefix(http.DetectContentType(body), "text/html") || mediaType == "text/html" && len(body) > 0 && !a.isJSON
	return a, nil
}

// `match` returns the first item of definition.Answers that describes the answer `a`, or nil. The
// result for an HTML page is always nil, because proxies send such pages in place of the API's
// answer.
func (a answer) match(definition *catalog.Verification) *catalog.VerificationAnswer {
	i := slices.IndexFunc(definition.Answers, func(described catalog.VerificationAnswer) bool {
		return described.Matches(a.status, a.header, a.value, a.isJSON)
	})
	if i < 0 || a.isHTML {
		return nil
	}
	return &definition.Answers[i]
}
