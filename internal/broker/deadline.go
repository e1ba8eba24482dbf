package broker

import (
	"context"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/fault"
)

const (
	// The last part of a deadline is kept for telling the caller why there is no
	// answer: maxReserve, or a quarter of what is left where that is less.
	maxReserve      = 200 * time.Millisecond
	reserveFraction = 4
	// retryDelay is when to try again after a call that ran out of time.
	retryDelay = time.Second
)

// withReserve returns ctx with an end shortly before its deadline.
func withReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	reserve := min(maxReserve, time.Until(deadline)/reserveFraction)
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}

// outOfTime turns the end of a withReserve into an error that says what to do. When the
// caller itself gave up, nobody reads the answer.
func outOfTime(ctx context.Context, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.ProviderUnavailable, "the provider has not answered in the time that this call had").WithRetryDelay(retryDelay)
}
