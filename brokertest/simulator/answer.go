package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// answer is a complete HTTP response.
type answer struct {
	status int
	header http.Header
	body   string
}

type fields map[string]any

func jsonAnswer(status int, body any) answer {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return textAnswer(status, "application/json", string(text))
}

func textAnswer(status int, contentType, body string) answer {
	return answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

func (a answer) with(name, value string) answer {
	header := make(http.Header, len(a.header)+1)
	maps.Copy(header, a.header)
	header.Set(name, value)
	a.header = header
	return a
}

// ServeHTTP sends the answer to every request.
func (a answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.writeHeader(w)
	_, _ = w.Write([]byte(a.body))
}

func (a answer) writeHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func record(handler http.Handler, r *http.Request) answer {
	recorded := &recorder{header: make(http.Header)}
	handler.ServeHTTP(recorded, r)
	recorded.WriteHeader(http.StatusOK)
	return answer{status: recorded.status, header: recorded.header, body: recorded.body.String()}
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}
