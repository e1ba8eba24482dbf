package fleettest_test

import (
	"sync"
	"time"
)

// spans are the periods in which a condition was true. A value of this type is safe for concurrent
// use.
type spans struct {
	mu  sync.Mutex
	all []span
}

// span is a period in which a condition was true. While the condition is still true, the field `to`
// is zero.
type span struct{ from, to time.Time }

func (s span) touches(from, to time.Time) bool {
	return s.from.Before(to) && (s.to.IsZero() || s.to.After(from))
}

// begin begins a span, unless the last one has no end yet.
func (s *spans) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n == 0 || !s.all[n-1].to.IsZero() {
		s.all = append(s.all, span{from: time.Now()})
	}
}

// `end` ends the last span, unless it has an end already.
func (s *spans) end() { s.endIn(0) }

// endIn sets the end of the last span to d from now, unless it has an end already.
func (s *spans) endIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n > 0 && s.all[n-1].to.IsZero() {
		s.all[n-1].to = time.Now().Add(d)
	}
}

// touch reports whether a span overlaps a period, and returns the end of the last span that does.
// The returned zero time means that this span has no end yet.
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

func (s *spans) touches(from, to time.Time) bool {
	touches, _ := s.touch(from, to)
	return touches
}
