package fleettest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// AwaitCallsUnderWay waits until each of the brokers has at least n unanswered calls of
// GetAuthDecoration.
func (f *Fleet) AwaitCallsUnderWay(n int, brokers ...*Broker) {
	f.t.Helper()
	f.awaitUnderWay("GetAuthDecoration", n, brokers)
}

// AwaitReportsUnderWay waits until each of the brokers has at least n unanswered calls of
// ReportRejection.
func (f *Fleet) AwaitReportsUnderWay(n int, brokers ...*Broker) {
	f.t.Helper()
	f.awaitUnderWay("ReportRejection", n, brokers)
}

func (f *Fleet) awaitUnderWay(method string, n int, brokers []*Broker) {
	f.t.Helper()
	for _, b := range brokers {
		f.Await(fmt.Sprintf("%s has %d unanswered calls of the method %s", b.Name, n, method), func() error {
			got, err := b.callsUnderWay(method)
			if err == nil && got < n {
				err = fmt.Errorf("%s has %d", b.Name, got)
			}
			return err
		})
	}
}

// AwaitDegraded waits until all brokers report that they are degraded, or, if `want` is false, that
// they are not. AwaitDegraded returns how long it waited.
func (f *Fleet) AwaitDegraded(want bool) time.Duration {
	f.t.Helper()
	return f.Await(fmt.Sprintf("all brokers report degraded=%v", want), func() error {
		var all []error
		for _, b := range f.Running() {
			is, err := b.Degraded()
			if err == nil && is != want {
				err = fmt.Errorf("%s reports degraded=%v", b.Name, is)
			}
			all = append(all, err)
		}
		return errors.Join(all...)
	})
}

// Await waits until the condition returns nil, and returns how long it waited. After Patience the
// test fails with the condition's last error.
func (f *Fleet) Await(what string, condition func() error) time.Duration {
	f.t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > Patience {
			f.t.Fatalf("waited %v in vain until %s: %v", Patience, what, err)
		}
		<-tick.C
	}
}

// AwaitTokenRequests waits until the provider has received a total of n token requests.
func (f *Fleet) AwaitTokenRequests(n int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := f.Provider.AwaitTokenRequests(ctx, n); err != nil {
		f.t.Fatal(err)
	}
}
