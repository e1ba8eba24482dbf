package client

import (
	"context"
	"maps"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// repeatReport is the time after which a version is reported again that the broker could not
	// replace.
	repeatReport = time.Minute
	// minReportDelay is the minimum time after which a report is made again that failed.
	minReportDelay = time.Second
)

// report is a report of a rejected version, for which requests wait. The other fields are set
// before done is closed.
type report struct {
	done      chan struct{}
	successor *prepared // nil if requests must not be repeated
	until     time.Time // the version is not reported again before this time
}

// reject processes a provider's rejection of a decoration. It returns the decoration with which the
// request can be repeated, or nil. A report that fails is not an error of the request, because the
// provider's answer is more useful to the caller than an error of the broker.
func (c *credential) reject(ctx context.Context, rejected *prepared, httpStatus int) *prepared {
	waiting, p := c.joinReport(ctx, rejected, httpStatus)
	if waiting == nil {
		return p
	}
	select {
	case <-waiting.done:
		return waiting.successor
	case <-ctx.Done():
		return nil
	}
}

// joinReport returns the report of the version, which may have ended, or a new one. If the copy has
// another version already, joinReport returns the copy instead.
func (c *credential) joinReport(ctx context.Context, rejected *prepared, httpStatus int) (*report, *prepared) {
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if c.client.closed {
		return nil, nil
	}
	now := c.client.now()
	if p := c.copy.Load(); p != nil && p.version() != rejected.version() && !p.expired(now) {
		return nil, p
	}
	maps.DeleteFunc(c.reports, func(_ string, r *report) bool { return r.ended() && !now.Before(r.until) })
	waiting := c.reports[rejected.version()]
	if waiting == nil {
		waiting = &report{done: make(chan struct{})}
		c.reports[rejected.version()] = waiting
		c.client.tasks.Go(func() { c.make(ctx, waiting, rejected.version(), httpStatus) })
	}
	return waiting, nil
}

func (r *report) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// `make` makes a report.
func (c *credential) make(ctx context.Context, made *report, version string, httpStatus int) {
	var response *authmaterialv1.ReportRejectionResponse
	failed := c.client.retry(ctx, c.id, reportTimeout, func(ctx context.Context, options ...grpc.CallOption) (err error) {
		response, err = c.client.broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
			CredentialId: c.id,
			Version:      version,
			HttpStatus:   int32(httpStatus), //nolint:gosec // a status of an answer, with three digits
		}, options...)
		return err
	})
	var answer *prepared
	if failed == nil {
		var err error
		if answer, err = prepare(response.GetAuthDecoration()); err != nil {
			failed = unusable(c.id, err)
		}
	}
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	defer close(made.done)
	now := c.client.now()
	switch {
	case failed != nil:
		made.until = now.Add(max(failed.RetryDelay, minReportDelay))
		return
	case response.GetOutcome() == authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED,
		response.GetOutcome() == authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED:
		made.successor = answer
		c.ignore(version, answer, now)
	default:
		made.until = now.Add(repeatReport)
	}
	c.install(answer)
}

// ignore makes install ignore a version that has a successor, which itself is no longer ignored.
func (c *credential) ignore(version string, successor *prepared, now time.Time) {
	maps.DeleteFunc(c.replaced, func(_ string, until time.Time) bool { return !now.Before(until) })
	if successor.version() != version {
		c.replaced[version] = now.Add(ignoreReplaced)
		delete(c.replaced, successor.version())
	}
}
