package fleettest_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// callers call the provider's API with what they get, as a caller of the broker should:
// one whose request is rejected reports that, and tries once more with the answer.
type callers struct {
	fleet    *fleettest.Fleet
	calls    atomic.Int64 // of the API, without the second ones
	rejected atomic.Int64 // of those
}

// call returns an error when the API rejects a request for good.
func (c *callers) call(a fleettest.Answer) error {
	if a.Err != nil {
		return errors.New("fails with " + fleettest.Describe(a.Err))
	}
	c.calls.Add(1)
	status, err := c.fleet.Provider.Call(a.Decoration)
	if err != nil || status == http.StatusOK {
		return err
	}
	report := c.fleet.Report(a.Broker, int(c.rejected.Add(1)), a.Credential, a.Decoration.GetVersion())
	if report.Err != nil {
		return errors.New("cannot report: " + fleettest.Describe(report.Err))
	}
	status, err = c.fleet.Provider.Call(report.Decoration)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("is answered %d by the provider after a report that was answered with %v", status, report.Outcome)
	}
	return err
}

// A new token ends the one before, while others use that.
func TestPreviousTokenEnds(t *testing.T) {
	t.Parallel()
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t)), EndsPrevious: true})
	warm(t, fleet)
	wantRequests(t, fleet, 1)
	c := &callers{fleet: fleet}
	load := fleet.StartLoad(fleettest.LoadOptions{Check: func(a fleettest.Answer) error {
		return errors.Join(c.call(a), fleet.Withdrawn.Check(a))
	}})
	load.AwaitAgreement(2)
	wantRequests(t, fleet, 2)
	t.Logf("after a renewal the API has rejected %d of %d requests", c.rejected.Load(), c.calls.Load())

	// Now the provider takes its time between the end of the former token and its answer.
	release := fleet.Provider.HoldTokenAnswers()
	fleet.AwaitReportsUnderWay(5, fleet.Brokers...)
	release()
	load.AwaitAgreement(3)
	wantRequests(t, fleet, 3)
	load.Stop()
	if err := load.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("the API has rejected %d of %d requests, and none after a report; 3 token requests for each credential; %v",
		c.rejected.Load(), c.calls.Load(), load)
}
