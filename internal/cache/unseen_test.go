package cache_test

import (
	"fmt"
	"testing"
	"time"
)

// reportUnseen has replica 1 told that token-3 was rejected, which replica 0 alone has and
// cannot share yet. token-1 was rejected before.
func (f *fleet) reportUnseen() {
	f.wantEverywhere("token-1")
	f.links[0].become(refusing)
	f.pass(time.Second)
	f.wantReportAt(1, "token-1", "token-2")
	f.pass(time.Second)
	f.wantReportAt(0, "token-1", "token-3")
	f.wantReportAt(1, "token-3", "token-2")
}

func TestReportOfAnUnseenTokenIsNotPushedOut(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.reportUnseen()
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

// A caller that reports whatever comes to its mind makes room for one more report, no
// more: the token is replaced when it is reported again.
func TestFloodOfReportsOfUnseenTokens(t *testing.T) {
	inFleet(t, 2, func(f *fleet) {
		f.reportUnseen()
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
