package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// Counter counts events. It is that of Prometheus.
type Counter interface{ Inc() }

// Histogram takes values. It is that of Prometheus.
type Histogram interface{ Observe(value float64) }

// MethodMetrics are the metrics of one method.
type MethodMetrics struct {
	Started, Received, Sent Counter
	Handled                 [codes.Unauthenticated + 1]Counter // by code
	Seconds                 Histogram
}

// Ended is a call that has ended.
type Ended struct {
	// Method is the method's full name. Stream says that it is a stream.
	Method string
	Stream bool
	// Err is what the client was answered; nil: OK.
	Err error
	// Took is how long the call took.
	Took time.Duration
	// Caller is who made it, and CredentialID what it asked for; empty: unknown, or several.
	Caller, CredentialID string
	// Excess says that a limit was the reason for its end, or its message. Clients can make any
	// number of such calls.
	Excess bool
}

// call is one call, from its beginning to its end.
type call struct {
	service *Service
	ctx     context.Context //nolint:containedctx // it lives as long as the call
	method  *method
	began   time.Time
	ended   Ended
	release func() // gives back what the call counts for; nil: nothing
}

// method is a method with its metrics.
type method struct {
	name    string
	stream  bool
	metrics *MethodMetrics
}

// begin begins a call. Its end has to follow, in a deferred function that recovers.
func (s *Service) begin(ctx context.Context, m *method) call {
	m.metrics.Started.Inc()
	return call{service: s, ctx: ctx, method: m, began: time.Now()}
}

// end ends a call with an error, or with the cause of a panic. It returns what the client is
// answered.
func (c *call) end(err error, cause any) error {
	if c.release != nil {
		c.release()
	}
	code := codes.OK
	if cause != nil {
		err = c.service.Recovered(c.ctx, cause)
	}
	if err != nil {
		c.ended.Excess = c.ended.Excess || errors.Is(err, broker.ErrManyDenials)
		err = c.toStatus(err)
		code = status.Code(err)
	} else if !c.method.stream {
		c.method.metrics.Sent.Inc()
	}
	took := time.Since(c.began)
	c.method.metrics.Handled[min(code, codes.Unauthenticated)].Inc()
	c.method.metrics.Seconds.Observe(took.Seconds())
	if err != nil || c.service.logsAll(c.ctx) {
		c.ended.Method, c.ended.Stream, c.ended.Err, c.ended.Took = c.method.name, c.method.stream, err, took
		c.service.ended(c.ctx, c.ended)
	}
	return err
}

// malformed is the error of a message that could not be received: it is the client's fault,
// whatever gRPC calls it.
type malformed struct{ error }

// GRPCStatus returns the status itself.
func (m malformed) GRPCStatus() *status.Status { return status.Convert(m.error) }

// toStatus returns an error as a status.
func (c *call) toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return c.service.toStatus(c.ctx, err)
}

// receive receives the message of a call.
func (c *call) receive(receive func(any) error, request any) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := receive(request); err != nil {
		c.ended.Excess = true
		if status.Code(err) == codes.ResourceExhausted {
			c.service.tooLarge()
		}
		return malformed{err}
	}
	c.method.metrics.Received.Inc()
	return nil
}

// check returns an error for a call that is refused whatever it asks for.
func (c *call) check() error {
	err := c.service.check(c.ctx)
	c.ended.Excess = err != nil
	return err
}

// identify finds out who makes a call about so many credentials, and counts the call.
func (c *call) identify(credentials int) (identified, error) {
	who, err := c.service.identify(c.ctx)
	if err != nil {
		return identified{}, c.refused(err)
	}
	c.ended.Caller = who.Name
	now := c.service.clock.Now()
	if c.method.stream {
		if refusal := who.limits.BeginWatch(credentials, now); refusal != nil {
			return identified{}, c.over(refusal)
		}
		c.release = who.limits.EndWatch
		return who, nil
	}
	if refusal := who.limits.Begin(credentials, now); refusal != nil {
		return identified{}, c.over(refusal)
	}
	c.release = who.limits.End
	return who, nil
}

// refused notes that a call was refused because of a limit, if that is so.
func (c *call) refused(err error) error {
	var known *fault.Error
	c.ended.Excess = errors.As(err, &known) && known.Reason == fault.RateLimited
	return err
}

// refusals are what a client is told when a limit is reached, of those that calls reach.
var refusals = map[admission.Limit]string{ //nolint:exhaustive // the others are of connections
	admission.ConcurrentCalls:  "the broker answers as many calls as it may at once: try again",
	admission.CallsPerCaller:   "the caller makes as many calls at once as it may: wait for others to end",
	admission.CallsPerSecond:   "the caller makes more calls than it may: wait",
	admission.WatchesPerCaller: "the caller has as many watches as it may: end others, or ask for more credentials in one",
	admission.BatchesPerCaller: "the caller has as many batches at once as it may: read their answers",
}

// over returns the error of a call that a limit refuses.
func (c *call) over(refusal *admission.Refusal) error {
	c.ended.Excess = true
	wait := refusal.Wait
	if refusal.Limit == admission.WatchesPerCaller {
		wait = time.Minute
	}
	return fault.New(fault.RateLimited, refusals[refusal.Limit]).WithRetryDelay(wait)
}
