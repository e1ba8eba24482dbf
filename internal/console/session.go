package console

import (
	"cmp"
	"context"
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

// session is the record of a person who has signed in. A session is immutable.
type session struct {
	caller   string // the name of the caller
	evidence authentication.Evidence
	expires  time.Time
	ended    context.Context //nolint:containedctx // it ends with the session, by sign-out or expiry
	end      func()
}

// shownName returns the name of the person for the head of the pages.
func (s *session) shownName() string {
	if s.evidence.Person == nil {
		return s.caller
	}
	return cmp.Or(s.evidence.Person.DisplayName, s.caller)
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

// begin begins a session, and returns the value of its cookie.
func (s *sessions) begin(caller string, evidence authentication.Evidence) (proof string, begun *session) {
	proof = rand.Text()
	k := keyOf(proof)
	begun = &session{caller: caller, evidence: evidence, expires: s.clock.Now().Add(sessionAge)}
	var cancel context.CancelFunc
	begun.ended, cancel = context.WithCancel(context.Background())
	timer := s.clock.AfterFunc(sessionAge, func() { s.remove(k) })
	begun.end = func() { timer.Stop(); cancel() }
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []key
	for k, other := range s.all {
		if other.caller == caller {
			others = append(others, k)
		}
	}
	if len(others) >= maxSessions {
		oldest := slices.MinFunc(others, func(a, b key) int { return s.all[a].expires.Compare(s.all[b].expires) })
		s.all[oldest].end()
		delete(s.all, oldest)
	}
	s.all[k] = begun
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

func (s *sessions) end(proof string) { s.remove(keyOf(proof)) }

// remove ends a session, and its event streams.
func (s *sessions) remove(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.all[k]; found != nil {
		found.end()
		delete(s.all, k)
	}
}

// cookies has the names of the console's cookies.
type cookies struct {
	secure         bool
	session, login string
}

// newCookies returns the names of the cookies. With TLS, the prefix __Host- prevents other sites from
// setting these cookies. Without TLS, all servers on this machine share their cookies, so the names are
// random.
func newCookies(secure bool) cookies {
	if secure {
		return cookies{true, "__Host-broker", "__Host-broker-login"}
	}
	random := rand.Text()[:8]
	return cookies{false, "broker-" + random, "broker-login-" + random}
}

func (c cookies) make(name, value string, age time.Duration, site http.SameSite) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // on a loopback address without TLS, Secure is false
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
