package regularfile_test

import (
	"testing"

	"github.com/authmaterial/broker/internal/regularfile"
)

// TestUnknownSize reads files of /proc, for which the system reports the size 0.
func TestUnknownSize(t *testing.T) {
	if got, err := regularfile.Read("/proc/self/stat", limit); err != nil || len(got) == 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := regularfile.Read("/proc/self/maps", limit); err == nil || err.Error() != "is larger than the limit of 1 KiB" {
		t.Error(err)
	}
}
