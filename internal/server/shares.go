package server

import (
	"sync"
	"time"
)

// shares is a limit of those who use something at once. Beyond it, one of them gets more only
// up to its part: the limit, divided by how many they are, or a little where that is less.
// Beyond one and a half times the limit, who has most gives way for that. So nobody keeps the
// others out.
type shares[K comparable] struct {
	limit, little int
	// giveWay ends something of one's, and returns how much is free within a lag because of
	// that.
	giveWay func(K) int

	mu      sync.Mutex
	total   int
	used    map[K]int // none is 0
	leaving map[K]int // of used, what was ended; none is 0
	going   int       // the sum of leaving
}

// littlePart is the part of a small limit that a little is at most.
const littlePart = 8

func newShares[K comparable](limit, little int, giveWay func(K) int) *shares[K] {
	return &shares[K]{limit: limit, little: min(little, limit/littlePart), giveWay: giveWay, used: map[K]int{}, leaving: map[K]int{}}
}

// enter says whether one may have so much more, and counts it. Then leave has to follow.
func (s *shares[K]) enter(key K, more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.used[key] + more
	if s.total+more > s.limit {
		if own > s.part(key) || s.total-s.going+more > s.limit+s.limit/2 && !s.makeRoom(own) {
			return false
		}
	}
	s.total += more
	s.used[key] = own
	return true
}

// part is what one may have in any case.
func (s *shares[K]) part(key K) int {
	users := len(s.used)
	if _, ok := s.used[key]; !ok {
		users++
	}
	return max(s.limit/users, s.little)
}

// makeRoom has one give way who has more than that.
func (s *shares[K]) makeRoom(than int) bool {
	for tried := map[K]bool{}; ; {
		var greediest K
		most := than
		for key, used := range s.used {
			if stays := used - s.leaving[key]; stays > most && !tried[key] {
				greediest, most = key, stays
			}
		}
		if most == than {
			return false
		}
		if free := s.giveWay(greediest); free > 0 {
			s.goes(greediest, free)
			return true
		}
		tried[greediest] = true
	}
}

// goes counts what leaves within a lag.
func (s *shares[K]) goes(key K, some int) {
	s.count(key, some)
	time.AfterFunc(lag, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count(key, -some)
	})
}

func (s *shares[K]) count(key K, going int) {
	s.going += going
	if s.leaving[key] += going; s.leaving[key] == 0 {
		delete(s.leaving, key)
	}
}

// leaveLater is leave after a lag, for what has ended already.
func (s *shares[K]) leaveLater(key K, less int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goes(key, less)
	time.AfterFunc(lag, func() { s.leave(key, less) })
}

func (s *shares[K]) leave(key K, less int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total -= less
	if s.used[key] -= less; s.used[key] == 0 {
		delete(s.used, key)
	}
}
