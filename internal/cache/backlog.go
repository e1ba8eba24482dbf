package cache

import "sync"

// maxLookUps is how many tokens a backlog has looked up at once.
const maxLookUps = 8

// backlog is which tokens are to be looked up in the background: each once more, however
// often that was asked for.
type backlog struct {
	cache  *Cache
	lookUp func(*entry)

	mu      sync.Mutex
	queue   []*entry
	entries map[*entry]*backlogged
	workers int
}

// backlogged is an entry that is in the queue, or being looked up.
type backlogged struct {
	begun bool
	again bool // there was more news since it began
}

func newBacklog(c *Cache, lookUp func(*entry)) *backlog {
	return &backlog{cache: c, lookUp: lookUp, entries: map[*entry]*backlogged{}}
}

// add has the token of e looked up, by a look that begins after this.
func (b *backlog) add(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.entries[e]; known != nil {
		known.again = known.begun
		return
	}
	if b.workers < maxLookUps {
		land, ok := b.cache.takeOff()
		if !ok {
			return
		}
		b.workers++
		go func() {
			defer land()
			b.work()
		}()
	}
	b.entries[e] = &backlogged{}
	b.queue = append(b.queue, e)
}

func (b *backlog) work() {
	for e := b.next(); e != nil; e = b.next() {
		b.lookUp(e)
		b.done(e)
	}
}

// next takes an entry out of the queue. With nil the worker is to end.
func (b *backlog) next() *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 || b.cache.ctx.Err() != nil {
		b.workers--
		return nil
	}
	e := b.queue[0]
	b.queue = b.queue[1:]
	b.entries[e].begun = true
	return e
}

// done has an entry looked up again, if there was more news of it.
func (b *backlog) done(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.entries[e].again {
		delete(b.entries, e)
		return
	}
	b.entries[e] = &backlogged{}
	b.queue = append(b.queue, e)
}
