package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// getTimeout is the timeout of GetAuthDecoration. To get a new token, the broker may wait 3s
	// for its turn and 2s for Redis, before a token request of up to 10s.
	getTimeout = 20 * time.Second
	// reportTimeout is the timeout of ReportRejection. The broker may wait for three token
	// requests before it answers a report.
	reportTimeout = 45 * time.Second
	// A call that fails with UNAVAILABLE is made again, if that is less than retryFor after the
	// first attempt. The first pause is firstPause, and the longest is maxPause, unless the broker
	// names a delay.
	retryFor   = 5 * time.Second
	firstPause = 200 * time.Millisecond
	maxPause   = time.Second
)

// `getDecoration` gets a decoration for all requests that wait for it. It uses the context's values,
// but not its gRPC metadata, and continues when the context ends.
func (c *Client) getDecoration(ctx context.Context, credentialID string) (*prepared, *Error) {
	var response *authmaterialv1.GetAuthDecorationResponse
	failed := c.retry(ctx, credentialID, getTimeout, func(ctx context.Context, options ...grpc.CallOption) (err error) {
		response, err = c.broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: credentialID}, options...)
		return err
	})
	if failed != nil {
		return nil, failed
	}
	p, err := prepare(response.GetAuthDecoration())
	if err != nil {
		return nil, unusable(credentialID, err)
	}
	return p, nil
}

// `retry` makes a call, and makes it again while it fails with UNAVAILABLE. The timeout is that of
// one attempt. The context's outgoing metadata is not sent, because it is for another service, and
// can contain a token for that service.
func (c *Client) retry(
	ctx context.Context, credentialID string, timeout time.Duration, call func(context.Context, ...grpc.CallOption) error,
) *Error {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.WithoutCancel(ctx), nil))
	defer cancel()
	defer context.AfterFunc(c.running, cancel)()
	began, pause := time.Now(), firstPause
	for {
		var trailer metadata.MD
		attempt, end := context.WithTimeout(ctx, timeout)
		err := call(attempt, grpc.Trailer(&trailer))
		end()
		if err == nil {
			return nil
		}
		failed := callError(credentialID, err, trailer)
		if ctx.Err() != nil {
			failed.cause = errClosed
			return failed
		}
		wait := pause
		if failed.RetryDelay > 0 {
			wait = failed.RetryDelay
		}
		if status.Code(err) != codes.Unavailable || time.Since(began)+wait >= retryFor || !sleep(ctx, wait) {
			return failed
		}
		pause = min(2*pause, maxPause)
	}
}

// sleep waits, and reports whether the context is still valid.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
