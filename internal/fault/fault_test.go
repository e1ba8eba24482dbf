package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

func TestWithRetryDelayLeavesTheOriginalAlone(t *testing.T) {
	shared := fault.New(fault.ProviderUnavailable, "down")
	later := shared.WithRetryDelay(time.Minute)
	if shared.RetryDelay != 0 || later.RetryDelay != time.Minute || later.Reason != shared.Reason || later.Message != shared.Message {
		t.Errorf("the original is %+v, and the copy is %+v", *shared, *later)
	}
}

func TestFrom(t *testing.T) {
	known := fault.New(fault.RateLimited, "too many")
	if got := fault.From(fmt.Errorf("somewhere: %w", known)); got != known {
		t.Errorf("From returns %v, want the wrapped Error", got)
	}
	if got := fault.From(errors.New("canary")); got.Reason != fault.Internal || got.Message != "internal error" {
		t.Errorf("From returns the reason %v and the message %q for an unknown error", got.Reason, got.Message)
	}
}
