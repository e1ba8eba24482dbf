package simulator

import (
	"net/http"
	"strings"
	"sync"
)

// Client is an OAuth client: a client ID and the client's secret.
type Client struct {
	ID     string
	Secret string
}

func newClient() Client { return Client{ID: randomHex(16), Secret: randomHex(16)} }

// only returns the element of a list that has one element, and "" for any other list.
func only(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// bearer returns the bearer token in a request, or "" if the request has none.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(only(r.Header.Values("Authorization")), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// secretSet is the set of an account's valid secrets. The zero value is empty.
type secretSet[S comparable] struct {
	mutex sync.Mutex
	valid map[S]bool
}

func (s *secretSet[S]) add(secret S) S {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.valid == nil {
		s.valid = make(map[S]bool)
	}
	s.valid[secret] = true
	return secret
}

func (s *secretSet[S]) remove(secret S) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.valid, secret)
}

func (s *secretSet[S]) has(secret S) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.valid[secret]
}
