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

// callers are simulated callers, which call the API of the provider with the decorations that
// they receive. They follow the rules for callers: if the API rejects a request, a caller
// reports the rejection, and retries once with the new decoration.
type callers struct {
	fleet    *fleettest.Fleet
	calls    atomic.Int64 // number of API requests, without retries
	rejected atomic.Int64 // number of API requests that the API rejected
}

// call sends a request to the API. It returns an error if the API rejects both the request and
// the retry.
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
		err = fmt.Errorf("received status %d from the provider after a report with the outcome %v", status, report.Outcome)
	}
	return err
}

// The provider revokes a token when it issues the next token, while callers still use the old
// one.
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

	// From here on the provider answers late. So the provider revokes the old token before the
	// broker receives the new token.
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
