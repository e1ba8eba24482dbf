package fleettest_test

import (
	"sync"
	"time"
)

// spans are the periods in which a condition was true. The zero value has none. It is safe for
// concurrent use.
type spans struct {
	mu  sync.Mutex
	all []span
}

// span is a period; one without an end continues.
type span struct{ from, to time.Time }

// touches reports whether the span overlaps the time between the two.
func (s span) touches(from, to time.Time) bool {
	return s.from.Before(to) && (s.to.IsZero() || s.to.After(from))
}

// begin begins a span, unless one is open.
func (s *spans) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n == 0 || !s.all[n-1].to.IsZero() {
		s.all = append(s.all, span{from: time.Now()})
	}
}

// end ends the open span, if there is one.
func (s *spans) end() { s.endIn(0) }

// endIn ends the open span, if there is one, at a later time.
func (s *spans) endIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n > 0 && s.all[n-1].to.IsZero() {
		s.all[n-1].to = time.Now().Add(d)
	}
}

// touch reports whether a span overlaps the time between the two, and when the last such span
// ended: the zero time if it is still open.
func (s *spans) touch(from, to time.Time) (touches bool, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.touches(from, to) {
			touches, until = true, one.to
		}
	}
	return touches, until
}

// touches is touch without the end.
func (s *spans) touches(from, to time.Time) bool {
	touches, _ := s.touch(from, to)
	return touches
}
