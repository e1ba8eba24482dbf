package fleettest_test

import (
	"sync"
	"time"
)

// spans are the periods in which a condition was true. The zero value contains no periods. A
// value is safe for concurrent use.
type spans struct {
	mu  sync.Mutex
	all []span
}

// span is a period. If it has no end, the condition is still true.
type span struct{ from, to time.Time }

// touches reports whether the span overlaps the time between from and to.
func (s span) touches(from, to time.Time) bool {
	return s.from.Before(to) && (s.to.IsZero() || s.to.After(from))
}

// begin begins a span, unless the last span has no end yet.
func (s *spans) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n == 0 || !s.all[n-1].to.IsZero() {
		s.all = append(s.all, span{from: time.Now()})
	}
}

// end ends the last span now, if it has no end yet.
func (s *spans) end() { s.endIn(0) }

// endIn ends the last span, if it has no end yet, at a time that is d from now.
func (s *spans) endIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n > 0 && s.all[n-1].to.IsZero() {
		s.all[n-1].to = time.Now().Add(d)
	}
}

// touch reports whether a span overlaps the time between from and to. It also returns the end of
// the last such span; the zero time means that this span has no end yet.
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

// touches reports whether a span overlaps the time between from and to.
func (s *spans) touches(from, to time.Time) bool {
	touches, _ := s.touch(from, to)
	return touches
}
