package verification

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
)

// answer is a complete answer of a provider.
type answer struct {
	status   int
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
	a := answer{status: response.StatusCode, tooLarge: len(body) > maxAnswerSize}
	a.isJSON = !a.tooLarge && json.Unmarshal(body, &a.value) == nil
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
		return slices.Contains(described.Statuses, a.status) && a.hasMembers(described.JSON)
	})
	if i < 0 || a.isHTML {
		return nil
	}
	return &definition.Answers[i]
}

// hasMembers reports whether the body is a JSON object with the wanted members, or `want` is nil.
func (a answer) hasMembers(want map[string]any) bool {
	if want == nil {
		return true
	}
	members, _ := a.value.(map[string]any)
	for name, value := range want {
		if members[name] != value {
			return false
		}
	}
	return a.isJSON
}
