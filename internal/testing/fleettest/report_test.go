package fleettest_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// `reporting` is a fleet with traffic in which callers report tokens as rejected. No call may
// receive a reported version, except that other replicas than the one that got the report may serve
// it for a second.
type reporting struct {
	*testing.T
	fleet *fleettest.Fleet
	load  *fleettest.Load
}

func newReporting(t *testing.T, options fleettest.Options) *reporting {
	t.Helper()
	options.Redis = oneRedis(redistest.Start(t))
	r := &reporting{T: t, fleet: fleettest.Start(t, options)}
	warm(t, r.fleet)
	r.load = r.fleet.StartLoad(fleettest.LoadOptions{Check: r.check})
	r.load.AwaitAgreement(1)
	return r
}

// `replaced` checks that the answers to all reports of one version contain the same new token.
func (r *reporting) replaced(reports []fleettest.Report) {
	r.Helper()
	outcomes := map[string]int{}
	for _, report := range reports {
		if err := r.fleet.CheckReport(report); err != nil {
			r.Errorf("a report to %s failed its check: %v", report.Broker.Name, err)
		}
		if got, want := report.Decoration.GetVersion(), reports[0].Decoration.GetVersion(); got != want {
			r.Errorf("reports of one version were answered with two tokens, %s and %s", got, want)
		}
		outcomes[report.Outcome.String()]++
	}
	r.Logf("%d reports: %v", len(reports), outcomes)
}

// `served` waits until all brokers serve the token in the answer to a report.
func (r *reporting) served(report fleettest.Report) {
	r.Helper()
	took := r.fleet.Await("all brokers serve the successor", func() error {
		for _, b := range r.fleet.Brokers {
			answer := r.fleet.Ask(b, 0, report.Credential)
			if err := r.check(answer); err != nil {
				r.Errorf("a call to %s failed its check: %v", b.Name, err)
			}
			if answer.Decoration.GetVersion() != report.Decoration.GetVersion() {
				return errors.New(b.Name + " does not")
			}
		}
		return nil
	})
	r.Logf("all brokers serve the successor %v after the report was answered", took.Round(time.Millisecond))
}

func (r *reporting) check(a fleettest.Answer) error {
	if err := r.fleet.Check(a); err != nil {
		return err
	}
	return r.fleet.Withdrawn.Check(a)
}

// `requests` returns how many token requests for a credential are made while `do` runs.
func (r *reporting) requests(credential fleettest.Credential, do func()) int {
	before := r.fleet.Provider.TokenRequests(credential.Client.ID)
	do()
	return r.fleet.Provider.TokenRequests(credential.Client.ID) - before
}

func (r *reporting) end() {
	r.Helper()
	r.load.Stop()
	r.Logf("%v", r.load)
	if err := r.load.Err(); err != nil {
		r.Error(err)
	}
}

func (r *reporting) manyReports(credential fleettest.Credential) {
	r.Helper()
	version := r.load.Version(credential.ID)
	made := r.requests(credential, func() {
		reports := r.fleet.BeginReports(credential, version, 1000/len(r.fleet.Brokers), r.fleet.Brokers...)()
		r.replaced(reports)
		r.served(reports[0])
	})
	if made != 1 {
		r.Errorf("%d token requests for one version that 1,000 callers reported, want 1", made)
	}
}

func (r *reporting) oneReport(credential fleettest.Credential) {
	r.Helper()
	made := r.requests(credential, func() {
		report := r.fleet.Report(r.fleet.Brokers[0], 0, credential, r.load.Version(credential.ID))
		r.replaced([]fleettest.Report{report})
		r.served(report)
	})
	if made != 1 {
		r.Errorf("%d token requests for one report, want 1", made)
	}
}

// reportInRenewal makes callers report a version while its token is being renewed.
func (r *reporting) reportInRenewal(credential fleettest.Credential) {
	r.Helper()
	const callers = 5
	release := r.fleet.Provider.HoldTokenAnswers()
	made := r.requests(credential, func() {
		before := r.fleet.Provider.TokenRequests(credential.Client.ID)
		version := r.load.Version(credential.ID)
		r.fleet.Await("the renewal has begun", func() error {
			if r.fleet.Provider.TokenRequests(credential.Client.ID) == before {
				return errors.New("there was no request")
			}
			return nil
		})
		wait := r.fleet.BeginReports(credential, version, callers, r.fleet.Brokers...)
		r.fleet.AwaitReportsUnderWay(callers, r.fleet.Brokers...)
		release()
		reports := wait()
		r.replaced(reports)
		r.served(reports[0])
	})
	if made != 1 {
		r.Errorf("%d token requests for a renewal and for the reports during the renewal, want 1", made)
	}
}

func (r *reporting) reportWhileDown(credential fleettest.Credential) {
	r.Helper()
	version := r.load.Version(credential.ID)
	r.fleet.Provider.FailTokenRequests(simulator.ServiceUnavailable("5"))
	made := r.requests(credential, func() {
		for _, report := range r.fleet.BeginReports(credential, version, 5, r.fleet.Brokers...)() {
			if fault := fleettest.FaultOf(report.Err); fault.Code != codes.Unavailable || fault.Reason != "PROVIDER_UNAVAILABLE" || fault.RetryDelay <= 0 {
				r.Errorf("a report to %s while the provider is down returned %+v", report.Broker.Name, fault)
			}
		}
	})
	if made != 1 {
		r.Errorf("%d token requests for reports while the provider is down, want 1", made)
	}
	for _, b := range r.fleet.Brokers {
		answer := r.fleet.Ask(b, 0, credential)
		if err := r.fleet.Check(answer); err != nil || answer.Decoration.GetVersion() != version {
			r.Errorf("after a failed report %s does not serve the reported version: %v", b.Name, err)
		}
	}
	r.fleet.Provider.RestoreTokenRequests()
}

// tooManyReports checks that all brokers together obey the limit of forced renewals.
func (r *reporting) tooManyReports(credential fleettest.Credential) {
	r.Helper()
	const limit = 3
	made := r.requests(credential, func() {
		version := r.load.Version(credential.ID)
		for i := range limit {
			report := r.fleet.Report(r.fleet.Brokers[i], 0, credential, version)
			r.replaced([]fleettest.Report{report})
			if report.Outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED {
				r.Errorf("report %d had the outcome %v, want REPLACED", i+1, report.Outcome)
			}
			r.served(report)
			version = report.Decoration.GetVersion()
		}
		for _, b := range r.fleet.Brokers {
			report := r.fleet.Report(b, 0, credential, version)
			if fault := fleettest.FaultOf(report.Err); fault.Code != codes.ResourceExhausted || fault.Reason != "RATE_LIMITED" || fault.RetryDelay < 9*time.Minute || fault.RetryDelay > 10*time.Minute {
				r.Errorf("a report to %s beyond the limit returned %+v", b.Name, fault)
			}
			answer := r.fleet.Ask(b, 0, credential)
			if err := r.fleet.Check(answer); err != nil || answer.Decoration.GetVersion() != version {
				r.Errorf("after too many reports %s does not serve the latest version: %v", b.Name, err)
			}
		}
	})
	if made != limit {
		r.Errorf("%d token requests for reports beyond the limit, want %d", made, limit)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	r := newReporting(t, fleettest.Options{Lifetime: time.Hour}) // no token is renewed during the test
	all := r.fleet.Credentials
	r.manyReports(all[0])
	r.oneReport(all[1])
	r.tooManyReports(all[2])
	r.reportWhileDown(all[3])
	r.end()
}

func TestReportsInARenewal(t *testing.T) {
	t.Parallel()
	r := newReporting(t, fleettest.Options{Brokers: 4})
	r.reportInRenewal(r.fleet.Credentials[0])
	r.end()
}
