package clientworld_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/authmaterial/broker/internal/testing/clientworld"
)

type object = map[string]any

// runner performs operations as clients/vectors/README.md describes, with a simple client.
type runner struct {
	t      *testing.T
	url    string
	client *simpleClient
	breaks string // the rule that the client breaks
	// change may falsify an outcome.
	change func(op string, outcome object)
}

// runVector runs one vector and returns the last operation.
func (r *runner) runVector(name string) object {
	r.t.Helper()
	op := r.post("/vectors/"+name, object{"client": "simple"})
	for op["op"] != "done" && op["op"] != "failed" {
		outcome := r.perform(op)
		if r.change != nil {
			r.change(op["op"].(string), outcome)
		}
		op = r.post("/sessions/"+op["session"].(string), outcome)
	}
	if r.client != nil {
		r.client.close()
	}
	return op
}

func (r *runner) post(path string, value any) (answer object) {
	r.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+path, bytes.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %v: status %d: %s", path, err, response.StatusCode, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *runner) perform(op object) object {
	switch op["op"] {
	case "new":
		if r.client != nil {
			r.client.close()
		}
		r.client = newSimpleClient(r.t, op["broker"].(object)["address"].(string), r.breaks)
		r.client.clock(op["now"].(float64))
	case "clock":
		r.client.clock(op["now"].(float64))
	case "request":
		return r.client.requests(op)
	case "texts":
		return object{"texts": []string{"a client"}}
	case "close":
		r.client.close()
		r.client = nil
	default:
		return object{"unsupported": true}
	}
	return object{}
}

func newRunner(t *testing.T, vectors map[string]string) *runner {
	t.Helper()
	files := map[string][]byte{}
	for name, text := range vectors {
		files[name] = []byte(text)
	}
	server, err := clientworld.NewServer(files)
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return &runner{t: t, url: listening.URL}
}
