package console

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/authentication"
)

const (
	// sessionAge is how long a session lasts.
	sessionAge = 8 * time.Hour
	// maxSessions is the maximum number of sessions of one caller. A new session ends the oldest.
	maxSessions = 20
)

// session is the stay of a person who has signed in. A session is immutable.
type session struct {
	caller   string // the name of the caller
	evidence authentication.Evidence
	expires  time.Time
}

// key is the SHA-256 of a text that only one browser or person knows.
type key [sha256.Size]byte

func keyOf(text string) key { return sha256.Sum256([]byte(text)) }

// sessions has all sessions of this process.
type sessions struct {
	clock clockwork.Clock
	mu    sync.Mutex
	all   map[key]*session
}

func newSessions(clock clockwork.Clock) *sessions {
	return &sessions{clock: clock, all: map[key]*session{}}
}

// begin begins a session, and returns the text that proves it.
func (s *sessions) begin(caller string, evidence authentication.Evidence) (proof string, begun *session) {
	proof, begun = rand.Text(), &session{caller, evidence, s.clock.Now().Add(sessionAge)}
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []key
	for k, other := range s.all {
		switch {
		case !s.clock.Now().Before(other.expires):
			delete(s.all, k)
		case other.caller == caller:
			others = append(others, k)
		}
	}
	if len(others) >= maxSessions {
		delete(s.all, slices.MinFunc(others, func(a, b key) int { return s.all[a].expires.Compare(s.all[b].expires) }))
	}
	s.all[keyOf(proof)] = begun
	return proof, begun
}

// find returns nil if there is no such session, or if it has ended.
func (s *sessions) find(proof string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[keyOf(proof)]
	if found == nil || !s.clock.Now().Before(found.expires) {
		return nil
	}
	return found
}

func (s *sessions) end(proof string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, keyOf(proof))
}

// cookies has the names of the console's cookies.
type cookies struct {
	secure         bool
	session, login string
}

// newCookies returns names that no other site can use. Without TLS, the cookies of all servers on this
// machine share one name space, so the names are random.
func newCookies(secure bool) cookies {
	if secure {
		return cookies{true, "__Host-broker", "__Host-broker-login"}
	}
	random := rand.Text()[:8]
	return cookies{false, "broker-" + random, "broker-login-" + random}
}

func (c cookies) make(name, value string, age time.Duration, site http.SameSite) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: cmp.Or(int(age/time.Second), -1),
		Secure: c.secure, HttpOnly: true, SameSite: site,
	}
}

func valueOf(r *http.Request, name string) string {
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}
