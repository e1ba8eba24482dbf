package ratelimit_test

import (
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/ratelimit"
)

func TestTake(t *testing.T) {
	l := ratelimit.New[string](2, 4, 2)
	now := time.Unix(1_000_000_000, 0)
	for _, step := range []struct {
		key   string
		n     int
		after time.Duration
		want  time.Duration
	}{
		{"a", 4, 0, 0},
		{"a", 1, 0, 500 * time.Millisecond},
		{"a", 2, 0, time.Second},
		{"b", 1, 0, 0},
		{"a", 1, 500 * time.Millisecond, 0},
		{"a", 1, 499 * time.Millisecond, time.Millisecond},
		{"b", 4, 0, 0},
		{"c", 4, 0, 0}, // evicts the bucket of the key "a"
		{"a", 4, 0, 0},
		{"a", 5, time.Hour, 500 * time.Millisecond}, // five events are more than a burst
	} {
		now = now.Add(step.after)
		if got := l.Take(step.key, step.n, now); got.Round(time.Millisecond) != step.want {
			t.Errorf("taking %d events of the key %s requires a wait of %v, want %v", step.n, step.key, got, step.want)
		}
	}
}
