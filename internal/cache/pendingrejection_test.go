package cache_test

import (
	"fmt"
	"testing"
	"time"
)

// reportPending reports token-3 to replica 1. Only replica 0 has token-3, and cannot share it yet.
// An earlier report was about token-1.
func (f *fleet) reportPending() {
	f.wantEverywhere("token-1")
	f.links[0].become(refusing)
	f.pass(time.Second)
	f.wantReportAt(1, "token-1", "token-2")
	f.pass(time.Second)
	f.wantReportAt(0, "token-1", "token-3")
	f.wantReportAt(1, "token-3", "token-2")
}

func TestPendingRejectionIsNotEvicted(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.reportPending()
		together(1000, func(int) { f.wantReportAt(1, "token-1", "token-2") })
		for i := range 50 {
			f.wantReportAt(1, fmt.Sprintf("made-up-%d", i), "token-2")
		}
		f.links[0].become(connected)
		f.pass(findingPlace)
		for range 100 {
			f.pass(10 * time.Millisecond)
			f.wantAt("token-2", 1)
		}
	})
}

// Many reports of unknown versions evict an earlier report. A token whose report was evicted comes
// into use again, and is replaced only when it is reported again.
func TestFloodOfReportsOfUnknownVersions(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.reportPending()
		for i := range 1000 {
			f.wantReportAt(1, fmt.Sprintf("made-up-%d", i), "token-2")
		}
		f.wantRequests(3)
		f.links[0].become(connected)
		f.pass(findingPlace + time.Second)
		f.wantEverywhere("token-3")
		f.wantReportAt(1, "token-3", "token-4")
		f.pass(time.Second)
		f.wantEverywhere("token-4")
		f.wantRequests(4)
	})
}
