package clientworld

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// abandoned is how long a session waits for the runner.
	abandoned  = 3 * time.Minute
	maxOutcome = 64 << 20
)

// Server is the HTTP server that tells runners what to do.
type Server struct {
	vectors map[string]*vector
	mux     *http.ServeMux

	mu       sync.Mutex
	sessions map[string]*session
}

// session is one vector with one client.
type session struct {
	id         string
	client     string // the client's name, for messages
	operations chan operation
	outcomes   chan []byte
}

// NewServer returns a server for vectors, whose keys are the names and whose values are JSON.
func NewServer(files map[string][]byte) (*Server, error) {
	s := &Server{vectors: map[string]*vector{}, mux: http.NewServeMux(), sessions: map[string]*session{}}
	for name, text := range files {
		v, err := parseVector(name, text)
		if err != nil {
			return nil, err
		}
		s.vectors[name] = v
	}
	s.mux.HandleFunc("GET /vectors", s.list)
	s.mux.HandleFunc("POST /vectors/{name}", s.begin)
	s.mux.HandleFunc("POST /sessions/{id}", s.next)
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("kind") == "load" {
		respond(w, []string{loadName})
		return
	}
	respond(w, slices.Sorted(maps.Keys(s.vectors)))
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	v := s.vectors[name]
	if v == nil && name != loadName {
		http.Error(w, "there is no such vector", http.StatusNotFound)
		return
	}
	var runner struct {
		Client string `json:"client"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOutcome)).Decode(&runner); err != nil {
		http.Error(w, "the body must be JSON such as {\"client\": \"python httpx\"}: "+err.Error(), http.StatusBadRequest)
		return
	}
	made := &session{client: runner.Client, operations: make(chan operation), outcomes: make(chan []byte)}
	s.mu.Lock()
	made.id = strconv.Itoa(len(s.sessions) + 1)
	s.sessions[made.id] = made
	s.mu.Unlock()
	go made.run(name, v)
	made.pass(w, r)
}

func (s *Server) next(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	found := s.sessions[r.PathValue("id")]
	s.mu.Unlock()
	if found == nil {
		http.Error(w, "there is no such session", http.StatusNotFound)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOutcome))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case found.outcomes <- text:
		found.pass(w, r)
	case <-time.After(patience):
		http.Error(w, "the session waits for no outcome", http.StatusConflict)
	case <-r.Context().Done():
	}
}

// pass sends the session's next operation to the runner.
func (s *session) pass(w http.ResponseWriter, r *http.Request) {
	select {
	case op := <-s.operations:
		op.Session = s.id
		respond(w, op)
	case <-r.Context().Done():
	}
}

// run runs the vector, whose operations the runner performs.
func (s *session) run(name string, v *vector) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	last := operation{Op: "done"}
	var err error
	if v == nil {
		if last.Figures, err = runLoad(ctx, s.perform); err == nil {
			fmt.Fprintf(os.Stderr, "%s, %s: %s\n", name, s.client, last.Figures)
		}
	} else {
		err = runVector(ctx, v, s.perform)
	}
	switch {
	case errors.Is(err, errUnsupported):
		last.Why = "skipped: the client does not support an operation of this vector"
	case err != nil && v != nil:
		last.Op, last.Why = "failed", fmt.Sprintf("%s: %s: %v", name, v.Description, err)
	case err != nil:
		last.Op, last.Why = "failed", fmt.Sprintf("%s: %v", name, err)
	}
	select {
	case s.operations <- last:
	case <-time.After(abandoned):
	}
}

func runVector(ctx context.Context, v *vector, perform performer) error {
	w, err := newWorld(v, perform)
	if err != nil {
		return err
	}
	defer w.close()
	return w.run(ctx)
}

// perform has the runner perform an operation.
func (s *session) perform(ctx context.Context, op operation) (*outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, abandoned)
	defer cancel()
	select {
	case s.operations <- op:
	case <-ctx.Done():
		return nil, errors.New("the runner no longer asks for operations")
	}
	select {
	case text := <-s.outcomes:
		return parseOutcome(text)
	case <-ctx.Done():
		return nil, fmt.Errorf("the runner did not finish the operation %s within %v", op.Op, abandoned)
	}
}

func respond(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // fails only if the runner has gone
}
