package fleettest_test

import (
	"testing"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const newKeyVariable = "BROKER_NEW_FLEET_KEY"

type keyRotation struct {
	*testing.T
	fleet   *fleettest.Fleet
	keys    []any  // value of `token_cache.fleet_keys` for brokers that start from now on
	key     string // the second fleet key
	reports map[string]int
}

// fleetKeys returns a value for `token_cache.fleet_keys` with the keys in the given environment
// variables.
func fleetKeys(variables ...string) []any {
	var keys []any
	for _, variable := range variables {
		keys = append(keys, map[string]any{"env": variable})
	}
	return keys
}

// `restart` restarts the brokers one after another with the current list of fleet keys.
func (r *keyRotation) restart(brokers []*fleettest.Broker) {
	for _, b := range brokers {
		b.Terminate()
		b.Configure()
		b.Start(newKeyVariable + "=" + r.key)
	}
}

// `report` makes callers of all brokers report the same token. The brokers must make only one token
// request together, although some have another list of fleet keys than the others.
func (r *keyRotation) report(credential fleettest.Credential) {
	r.Helper()
	before := r.fleet.Provider.TokenRequests(credential.Client.ID)
	version := r.fleet.Ask(r.fleet.Brokers[0], 0, credential).Decoration.GetVersion()
	reports := r.fleet.BeginReports(credential, version, 10, r.fleet.Brokers...)()
	for _, report := range reports {
		if err := r.fleet.CheckReport(report); err != nil {
			r.Errorf("a report to %s failed its check: %v", report.Broker.Name, err)
		}
		if bearer(report.Decoration) != bearer(reports[0].Decoration) {
			r.Errorf("%s and %s answered reports of the same version with different tokens", report.Broker.Name, reports[0].Broker.Name)
		}
	}
	if got := r.fleet.Provider.TokenRequests(credential.Client.ID) - before; got != 1 {
		r.Errorf("%d token requests for a version that was reported between restarts, want 1", got)
	}
	r.reports[credential.ID]++
}

// bearer returns the value of the decoration's only header.
func bearer(decoration *authmaterialv1.AuthDecoration) string {
	if headers := decoration.GetHeaders(); len(headers) == 1 {
		return headers[0].GetValue()
	}
	return ""
}

// The fleet key is rotated as the documentation describes, with three rolling restarts. The callers
// know all brokers, so they can use another broker while one restarts.
func TestFleetKeyIsRotated(t *testing.T) {
	t.Parallel()
	former, latest := fleettest.FleetKeyVariable, newKeyVariable
	r := &keyRotation{T: t, keys: fleetKeys(former), key: fleetkeys.Generate(), reports: map[string]int{}}
	r.fleet = fleettest.Start(t, fleettest.Options{
		Redis: oneRedis(redistest.Start(t)),
		Change: func(_ int, configuration map[string]any) {
			configuration["token_cache"].(map[string]any)["fleet_keys"] = r.keys
		},
	})
	brokers, n := r.fleet.Brokers, len(r.fleet.Credentials)
	began := time.Now()
	warm(t, r.fleet)
	load := r.fleet.StartLoad(fleettest.LoadOptions{Brokers: []*fleettest.Broker{r.fleet.Balanced()}, Callers: 100})
	for i, keys := range [][]any{fleetKeys(former, latest), fleetKeys(latest, former), fleetKeys(latest)} {
		r.keys = keys
		r.restart(brokers[:len(brokers)/2])
		if i == 1 {
			r.fleet.AwaitTokenRequests(2*n + len(r.reports)) // each token has been renewed once
		}
		r.report(r.fleet.Credentials[i])
		r.restart(brokers[len(brokers)/2:])
	}
	r.fleet.AwaitSameTokens()
	load.Stop()
	if err := load.Err(); err != nil {
		t.Error(err)
	}
	r.wantFewRequests(time.Since(began))
	t.Logf("%d restarts and %d reports within %v; %v", 3*len(brokers), len(r.reports), time.Since(began).Round(time.Millisecond), load)
}

// wantFewRequests checks that there were no more token requests than the renewals and reports in
// the given time need.
func (r *keyRotation) wantFewRequests(within time.Duration) {
	r.Helper()
	// A token is renewed after two thirds of its lifetime.
	limit, most := 1+int(within/(tokenLife*2/3)), 0
	for _, c := range r.fleet.Credentials {
		got := r.fleet.Provider.TokenRequests(c.Client.ID) - r.reports[c.ID]
		if most = max(most, got); got > limit {
			r.Errorf("%s: %d token requests within %v, want %d at most", c.ID, got, within, limit)
		}
	}
	r.Logf("%d token requests of a credential at most, beside reports; without restarts there would be %d at most", most, limit)
}
