package clientworld

import (
	"context"
	"sync"
	"time"
)

// board guards the state that the servers of a world share, and wakes those who wait for a change.
type board struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

// update changes the state, and wakes everybody who waits.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// read calls a function that reads the state.
func (b *board) read(look func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	look()
}

// await waits until the condition holds, and reports whether it did within the limit. The condition
// may read the state and must not call other methods of the board.
func (b *board) await(ctx context.Context, limit time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		b.mu.Lock()
		holds, changed := condition(), b.changed
		b.mu.Unlock()
		if holds {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
