package clock_test

import (
	"testing"

	"github.com/authmaterial/broker/internal/clock"
)

func BenchmarkNow(b *testing.B) {
	c := clock.New()
	for b.Loop() {
		_ = c.Now()
	}
}
