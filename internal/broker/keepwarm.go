package broker

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// A round is the time in which KeepWarm looks at each credential once. A round has roundSteps
	// steps, so that the token requests after the start are spread over a round.
	round      = 30 * time.Second
	roundSteps = 30
)

// warm contains the IDs of the credentials whose tokens are kept warm.
type warm struct {
	steps map[string]int // for each credential ID: the step of a round in which KeepWarm looks at the credential
	added chan struct{}  // has an element if IDs were added; KeepWarm receives it while there are no IDs
}

// note adds the ID if the token of its entry must be kept warm, and otherwise removes the ID. The
// entry is nil if there is no credential with this ID.
func (w *warm) note(id string, e *entry) {
	if e == nil || !e.credential.KeepWarm || e.credential.Disabled || !e.credential.Method.HasToken() {
		delete(w.steps, id)
		return
	}
	if _, known := w.steps[id]; !known {
		w.steps[id] = rand.N(roundSteps) //nolint:gosec // the random number only spreads load, so it need not be secure
		select {
		case w.added <- struct{}{}:
		default:
		}
	}
}

// KeepWarm obtains and renews the tokens of the credentials for which KeepWarm is set, even if no
// caller asks for them, until ctx ends. KeepWarm must run only once at a time.
func (b *Broker) KeepWarm(ctx context.Context) {
	for step := 0; ctx.Err() == nil; step = (step + 1) % roundSteps {
		if !b.keepWarm(step) {
			select {
			case <-ctx.Done():
			case <-b.warm.added:
			}
		}
		timer := b.options.Clock.NewTimer(round / roundSteps)
		select {
		case <-ctx.Done():
		case <-timer.Chan():
		}
		timer.Stop()
	}
}

// keepWarm does the given step of a round. It reports whether any credential has a token to keep
// warm.
func (b *Broker) keepWarm(step int) bool {
	b.mu.Lock() // while b.mu is locked, no account is replaced, and no token is dropped from the cache
	defer b.mu.Unlock()
	current := b.current.Load()
	for id, of := range b.warm.steps {
		if of != step {
			continue
		}
		for _, version := range current.entries.get(id).versions() {
			if a, err := b.account(version); err == nil && a.source != nil {
				b.options.Tokens.KeepWarm(a.source, round)
			}
		}
	}
	return len(b.warm.steps) > 0
}
