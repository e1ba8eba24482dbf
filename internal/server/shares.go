package server

import "sync"

// shares is a limit of those who use something at once. Beyond it, one of them gets more
// only up to its part: the limit, divided by how many they are. So nobody keeps the others
// out, and there is twice the limit in use at most.
type shares[K comparable] struct {
	limit int

	mu    sync.Mutex
	total int
	used  map[K]int // none is 0
}

func newShares[K comparable](limit int) *shares[K] {
	return &shares[K]{limit: limit, used: map[K]int{}}
}

// enter says whether one may have so much more, and counts it. Then leave has to follow.
func (s *shares[K]) enter(key K, more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.used[key]
	users := len(s.used)
	if own == 0 {
		users++
	}
	if s.total+more > s.limit && own+more > s.limit/users {
		return false
	}
	s.total += more
	s.used[key] = own + more
	return true
}

func (s *shares[K]) leave(key K, less int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total -= less
	if s.used[key] -= less; s.used[key] == 0 {
		delete(s.used, key)
	}
}
