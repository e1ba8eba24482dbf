package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/authmaterial/broker/clients/vectors"
	"github.com/authmaterial/broker/internal/testing/clientworld"
)

// atOnce is how many vectors run at the same time. Most of their time, vectors wait.
const atOnce = 8

// TestVectors runs the vectors of clients/vectors, which all clients must pass.
func TestVectors(t *testing.T) {
	world := startWorld(t)
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, name := range world.list("/vectors") {
		all.Go(func() error {
			t.Run(name, func(t *testing.T) { newRunner(t, world.url).run(name) })
			return nil
		})
	}
	_ = all.Wait() // the functions return no errors
}

// TestLoadVectors runs the long vectors, with real brokers, if the environment variable LOAD is set.
func TestLoadVectors(t *testing.T) {
	if os.Getenv("LOAD") == "" {
		t.Skip("set LOAD=1 to run the long vectors")
	}
	world := startWorld(t)
	for _, name := range world.list("/vectors?kind=load") {
		t.Run(name, func(t *testing.T) { newRunner(t, world.url).run(name) })
	}
}

// vectorWorld is the HTTP server that tells a runner what to do.
type vectorWorld struct {
	t   *testing.T
	url string
}

func startWorld(t *testing.T) vectorWorld {
	t.Helper()
	files, err := vectors.Files()
	if err != nil {
		t.Fatal(err)
	}
	server, err := clientworld.NewServer(files)
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return vectorWorld{t, listening.URL}
}

func (w vectorWorld) list(path string) (names []string) {
	exchange(w.t, http.MethodGet, w.url+path, nil, &names)
	return names
}

func exchange(t *testing.T, method, url string, value, answer any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err = io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d: %s (%v)", url, response.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}

// run runs one vector.
func (r *runner) run(name string) {
	r.Helper()
	var next operation
	exchange(r.T, http.MethodPost, r.world+"/vectors/"+name, map[string]string{"client": "go"}, &next)
	for next.Op != "done" && next.Op != "failed" {
		result := r.perform(next)
		session := next.Session
		next = operation{}
		exchange(r.T, http.MethodPost, r.world+"/sessions/"+session, result, &next)
	}
	switch {
	case next.Op == "failed":
		r.Error(next.Why)
	case next.Why != "":
		r.Skip(next.Why)
	}
}
