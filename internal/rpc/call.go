package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

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
	limits  *admission.Caller // whose limits it counts for; nil: nobody's
	use     admission.Use
	health  *admission.Conn // whose call for health it is; nil: it is none
}

// method is a method with its metrics.
type method struct {
	name    string
	stream  bool
	metrics *MethodMetrics
}

// HeaderLimit returns a tap.ServerInHandle that has calls with headers of more bytes, or too many of
// them, be refused when they are handled: gRPC would not end the context of one that is refused at
// once, whose timer stays for as long as the client likes. It also counts calls of connections that
// have not proved whose they are.
func HeaderLimit(most int) tap.ServerInHandle {
	errLargeHeaders := &fault.Error{
		Reason:     fault.InvalidRequest,
		Message:    "the headers of the call are too large",
		Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d bytes in all are the most, 32 counted for each header beside its name and value", most)}},
	}
	return func(ctx context.Context, call *tap.Info) (context.Context, error) {
		if p := peerOf(ctx); p.caller.Load() == nil && p.Conn != nil {
			p.Conn.Called()
		}
		headers, size := 0, 0
		for name, values := range call.Header {
			headers += len(values)
			for _, value := range values {
				field := hpack.HeaderField{Name: name, Value: value}
				size += int(field.Size())
			}
		}
		switch {
		case headers > maxHeaders:
			return context.WithValue(ctx, headersKey{}, errManyHeaders), nil
		case size > most:
			return context.WithValue(ctx, headersKey{}, errLargeHeaders), nil
		}
		return ctx, nil
	}
}

// begin begins a call. Its end has to follow, in a deferred function that recovers.
func (s *Service) begin(ctx context.Context, m *method) call {
	m.metrics.Started.Inc()
	return call{service: s, ctx: ctx, method: m, began: time.Now()}
}

// end ends a call with an error, or with the cause of a panic. It returns what the client is
// answered.
func (c *call) end(err error, cause any) error {
	if c.limits != nil {
		c.limits.End(c.use)
	}
	if c.health != nil {
		c.service.admission.EndHealth(c.health)
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
	if err != nil || c.service.logsAll {
		c.ended.Method, c.ended.Stream, c.ended.Err, c.ended.Took = c.method.name, c.method.stream, err, took
		c.service.ended(c.ctx, c.ended)
	}
	return err
}

// toStatus returns an error as a status.
func (c *call) toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return c.service.toStatus(c.ctx, err)
}

// receive receives the message of a call about one credential or several, identifies the caller, and
// counts the call.
func (c *call) receive(receive func(any) error, request any) (who broker.Caller, limits *admission.Caller, err error) {
	if why, refused := c.ctx.Value(headersKey{}).(*fault.Error); refused {
		return broker.Caller{}, nil, c.refuseHeaders(why)
	}
	if err := receive(request); err != nil {
		return broker.Caller{}, nil, c.malformed(err)
	}
	c.method.metrics.Received.Inc()
	credentials := 1
	switch about := request.(type) {
	case interface{ GetCredentialId() string }:
		c.ended.CredentialID = about.GetCredentialId()
	case interface{ GetCredentialIds() []string }:
		credentials = max(1, min(len(about.GetCredentialIds()), maxIDs))
	}
	return c.identify(credentials)
}

// identify finds out who makes a call about so many credentials, by the Generation that is served
// now, and counts the call. A connection is identified once for each Generation, unless its calls
// bring proofs of their own.
func (c *call) identify(credentials int) (who broker.Caller, limits *admission.Caller, err error) {
	s := c.service
	g, p, now := s.broker.Current(), peerOf(c.ctx), s.clock.Now()
	authorization := metadata.ValueFromIncomingContext(c.ctx, "authorization")
	known := p.caller.Load()
	if known != nil && len(authorization) == 0 && known.generation == g.Number &&
		(known.ExpireTime.IsZero() || s.wall(now).Before(known.ExpireTime)) {
		known.again.Inc()
	} else if known, err = s.identifyAnew(c.ctx, g, p, authorization); err != nil {
		return broker.Caller{}, nil, c.refused(err)
	} else {
		now = s.clock.Now() // an issuer's keys may have been fetched
	}
	c.ended.Caller = known.Name
	if c.method.stream {
		c.use = admission.Watch
	}
	if refusal := known.limits.Begin(c.use, credentials, now); refusal != nil {
		return broker.Caller{}, nil, c.over(refusal)
	}
	c.limits = known.limits
	return broker.Caller{Caller: known.Caller, By: g, Now: now}, known.limits, nil
}

// peerOf returns the peer of a call.
func peerOf(ctx context.Context) *Peer {
	if from, ok := peer.FromContext(ctx); ok {
		if known, ok := from.AuthInfo.(*Peer); ok {
			return known
		}
	}
	return &Peer{}
}

// malformed is the error of a message that could not be received: it is the client's fault,
// whatever gRPC calls it.
func (c *call) malformed(err error) error {
	c.ended.Excess = true
	if status.Code(err) == codes.ResourceExhausted {
		c.service.reached(admission.MessageBytes)
	}
	return status.Convert(err).Err()
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
