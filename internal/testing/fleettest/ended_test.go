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

// callers call the provider's API with the decorations that they receive. If the API rejects a
// request, they report the rejection, and retry once with the new decoration.
type callers struct {
	fleet    *fleettest.Fleet
	calls    atomic.Int64 // number of API requests, not counting retries
	rejected atomic.Int64 // number of rejected API requests
}

// call returns an error if the API rejects both the request and the retry.
func (c *callers) call(a fleettest.Answer) error {
	if a.Err != nil {
		return fmt.Errorf("the call failed: %s", fleettest.Describe(a.Err))
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
		err = fmt.Errorf("the provider answered with status %d after a report with the outcome %v", status, report.Outcome)
	}
	return err
}

// The provider revokes a token when it issues the next one, while callers still use the old token.
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

	// The provider answers late from here on, so it revokes the old token before the broker
	// receives the new one.
	release := fleet.Provider.HoldTokenAnswers()
	fleet.AwaitReportsUnderWay(5, fleet.Brokers...)
	release()
	load.AwaitAgreement(3)
	wantRequests(t, fleet, 3)
	load.Stop()
	if err := load.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("the API rejected %d of %d requests, and none after a report; there were 3 token requests for each credential; %v",
		c.rejected.Load(), c.calls.Load(), load)
}
