package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBootIsTheSystems(t *testing.T) {
	system := func() int64 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			t.Fatal(err)
		}
		return now.Nano()
	}
	for range 1000 {
		before := system()
		got := boot()
		if after := system(); got < before-int64(200*time.Microsecond) || got > after {
			t.Fatalf("the reading is %d, want %d to %d", got, before, after)
		}
	}
}

// TestBootNoticesSleep reduces the stored difference between CLOCK_BOOTTIME and Go's clock, as
// if the machine had slept since the latest comparison.
func TestBootNoticesSleep(t *testing.T) {
	before := boot()
	ahead.Add(-int64(1e12))
	checked.Store(-int64(time.Second)) // this value makes the latest comparison seem long ago
	if got := boot(); got < before {
		t.Errorf("the reading is %d less than before", before-got)
	}
}
