package fleettest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Report is a caller's report that the provider rejected a version, and the broker's answer.
type Report struct {
	Broker     *Broker
	Credential Credential
	Version    string // reported version
	Outcome    authmaterialv1.ReportRejectionResponse_Outcome
	Decoration *authmaterialv1.AuthDecoration // the decoration in the answer; nil if the call failed
	Err        error
	// Ended is the time at which the caller received the answer.
	Ended time.Time
}

// Report reports a version as rejected, as the caller with the given number. If the broker answers,
// the version is added to Withdrawn.
func (f *Fleet) Report(b *Broker, caller int, credential Credential, version string) Report {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	answer, err := b.Client(caller).ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
		CredentialId: credential.ID, Version: version, HttpStatus: http.StatusUnauthorized,
	})
	report := Report{
		Broker: b, Credential: credential, Version: version,
		Outcome: answer.GetOutcome(), Decoration: answer.GetAuthDecoration(), Err: err, Ended: time.Now(),
	}
	if err == nil {
		f.Withdrawn.add(report)
	}
	return report
}

// BeginReports makes several callers of each broker report the same version at once, and returns a
// function that waits for the answers.
func (f *Fleet) BeginReports(credential Credential, version string, callers int, brokers ...*Broker) (wait func() []Report) {
	reports := make([]Report, callers*len(brokers))
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range reports {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			reports[i] = f.Report(brokers[i%len(brokers)], i, credential, version)
		})
	}
	ready.Wait()
	close(begin)
	return func() []Report {
		done.Wait()
		return reports
	}
}

// CheckReport returns an error unless the answer contains another token of the same client that the
// provider accepts now.
func (f *Fleet) CheckReport(r Report) error {
	switch {
	case r.Err != nil:
		return fmt.Errorf("the call failed: %s", Describe(r.Err))
	case r.Outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED && r.Outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED:
		return fmt.Errorf("the outcome of the report is %v", r.Outcome)
	case r.Decoration.GetVersion() == r.Version:
		return errors.New("the answer contains the reported version")
	case !f.Provider.Accepts(r.Decoration, r.Credential.Client):
		return errors.New("the answer contains a token that the provider does not accept")
	default:
		return nil
	}
}

// newsLimit is how long a replica may serve a version that was reported to another replica.
const newsLimit = time.Second

// Withdrawals are the versions that brokers must no longer serve. The zero value is ready for use.
// Withdrawals are safe for concurrent use.
type Withdrawals struct {
	mu    sync.Mutex
	first map[string]time.Time             // for each version, the time of the first answer to a report
	by    map[*Broker]map[string]time.Time // for each broker and version, the time of the broker's first answer to a report
}

func (w *Withdrawals) add(r Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first, w.by = map[string]time.Time{}, map[*Broker]map[string]time.Time{}
	}
	if w.by[r.Broker] == nil {
		w.by[r.Broker] = map[string]time.Time{}
	}
	for _, told := range []map[string]time.Time{w.first, w.by[r.Broker]} {
		if at, ok := told[r.Version]; !ok || r.Ended.Before(at) {
			told[r.Version] = r.Ended
		}
	}
}

// Check returns an error if a call received a version that must no longer be served. A replica that
// answered a report of a version must not serve this version in later calls. Other replicas must
// not serve the version in calls that begin more than a second after the report.
func (w *Withdrawals) Check(a Answer) error {
	version := a.Decoration.GetVersion()
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.by[a.Broker][version]; ok && a.Began.After(at) {
		return errors.New("the caller received a version that was reported to the same broker before")
	}
	if at, ok := w.first[version]; ok && a.Began.Sub(at) > newsLimit {
		return fmt.Errorf("the caller received a version that was reported to another broker more than %v earlier", newsLimit)
	}
	return nil
}
