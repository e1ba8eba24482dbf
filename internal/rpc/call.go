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

// Counter counts events, as a Prometheus counter does.
type Counter interface{ Inc() }

// Histogram records values, as a Prometheus histogram does.
type Histogram interface{ Observe(value float64) }

// MethodMetrics are the metrics of one method.
type MethodMetrics struct {
	Started, Received, Sent Counter
	Handled                 [codes.Unauthenticated + 1]Counter // by gRPC code
	Seconds                 Histogram
}

// Ended describes a call that has ended.
type Ended struct {
	// Method is the full name of the method, which is a stream if Stream is true.
	Method string
	Stream bool
	// Err is the error that the client received, or nil if the call succeeded.
	Err error
	// Took is the time from the beginning of the call to its end.
	Took time.Duration
	// Caller is the caller's name, or empty if the caller is unknown. CredentialID is the ID in
	// the request, or empty if it is unknown or if the request has several IDs.
	Caller, CredentialID string
	// Excess is true if a limit ended the call, or if its message or headers were refused: clients
	// can make any number of calls that end in this way.
	Excess bool
}

type method struct {
	*MethodMetrics
	name   string
	stream bool
	use    admission.Use // the kind of limit that applies: for calls or for watches
}

func (s *Service) newMethod(name string, stream bool) *method {
	m := &method{s.options.Metrics(name, stream), name, stream, admission.Call}
	if stream {
		m.use = admission.Watch
	}
	return m
}

type call struct {
	service *Service
	ctx     context.Context //nolint:containedctx // the context ends with the call
	method  *method
	began   time.Time
	limits  *admission.Caller // limits for which the call counts; nil while the caller is unknown, and for refused calls
	health  *admission.Conn   // connection of a call of the health service; nil for other calls

	// The following fields are copied to Ended.
	caller, credentialID string
	excess               bool
}

// begin records that a call begins. The handler must defer a function that calls recover and then
// call.end.
func (s *Service) begin(ctx context.Context, m *method) call {
	m.Started.Inc()
	return call{service: s, ctx: ctx, method: m, began: time.Now()}
}

// end records that a call has ended with an error or a panic, if any, and returns the error for
// the client.
func (c *call) end(err error, cause any) error {
	if c.limits != nil {
		c.limits.End(c.method.use)
	}
	if c.health != nil {
		c.service.options.Admission.EndHealth(c.health)
	}
	if cause != nil {
		err = c.service.Recovered(c.ctx, cause)
	}
	if err != nil {
		c.excess = c.excess || errors.Is(err, broker.ErrManyDenials)
		err = c.service.toStatus(c.ctx, err)
	} else if !c.method.stream {
		c.method.Sent.Inc()
	}
	took := time.Since(c.began)
	c.method.Handled[min(status.Code(err), codes.Unauthenticated)].Inc()
	c.method.Seconds.Observe(took.Seconds())
	if err != nil || c.service.options.LogsAll {
		c.service.options.Ended(c.ctx, Ended{c.method.name, c.method.stream, err, took, c.caller, c.credentialID, c.excess})
	}
	return err
}

// receive receives the request message of a call, identifies the caller, and counts the call.
func (c *call) receive(receive func(any) error, request any) (broker.Caller, error) {
	if err := c.checkHeaders(); err != nil {
		return broker.Caller{}, err
	}
	if err := receive(request); err != nil {
		if status.Code(err) == codes.ResourceExhausted {
			c.service.options.Reached(admission.MessageBytes)
		}
		c.excess = true
		return broker.Caller{}, status.Convert(err).Err() // every receive error is the client's fault, whatever its code
	}
	c.method.Received.Inc()
	credentials := 1
	switch about := request.(type) {
	case interface{ GetCredentialId() string }:
		c.credentialID = about.GetCredentialId()
	case interface{ GetCredentialIds() []string }:
		credentials = max(1, min(len(about.GetCredentialIds()), maxIDs))
	}
	return c.identify(credentials)
}

// checkHeaders returns an error if the headers of the call are too large.
func (c *call) checkHeaders() error {
	err, refused := c.ctx.Value(headersKey{}).(error)
	c.excess = c.excess || refused
	return err
}

// identify identifies the caller with the configuration in use, and counts the call, which names
// the given number of credentials. The caller of a connection without tokens is identified only
// once for each Generation.
func (c *call) identify(credentials int) (broker.Caller, error) {
	s := c.service
	g, p, now := s.options.Broker.Current(), peerOf(c.ctx), s.options.Clock.Now()
	authorization := metadata.ValueFromIncomingContext(c.ctx, "authorization")
	known := p.caller.Load()
	if known != nil && len(authorization) == 0 && known.generation == g.Number &&
		(known.ExpireTime.IsZero() || s.wall(now).Before(known.ExpireTime)) {
		known.again.Inc()
	} else {
		var err error
		if known, err = s.identifyAnew(c.ctx, g, p, authorization); err != nil {
			c.excess = fault.From(err).Reason == fault.RateLimited
			return broker.Caller{}, err
		}
		now = s.options.Clock.Now() // the time is read again, because identifyAnew may have waited for an issuer's keys
	}
	c.caller = known.Name
	if refusal := known.limits.Begin(c.method.use, credentials, now); refusal != nil {
		return broker.Caller{}, c.refuse(refusal)
	}
	c.limits = known.limits
	return broker.Caller{Caller: known.Caller, By: g, Now: now}, nil
}

// refusals contains the error messages about the limits that calls can reach.
var refusals = map[admission.Limit]string{ //nolint:exhaustive // the other limits are about connections
	admission.ConcurrentCalls:  "the broker has reached its limit of concurrent calls: try again",
	admission.CallsPerCaller:   "the caller has reached its limit of concurrent calls: wait until earlier calls end",
	admission.CallsPerSecond:   "the caller has reached its limit of calls per second: wait",
	admission.WatchesPerCaller: "the caller has reached its limit of watches: end other watches, or watch more IDs in each watch",
	admission.BatchesPerCaller: "the caller has reached its limit of concurrent batches: read the answers of earlier batches",
	admission.LargePerCaller:   "the caller has reached its limit of concurrent large requests: send them one after another",
}

func (c *call) refuse(refusal *admission.Refusal) error {
	c.excess = true
	wait := refusal.Wait
	if refusal.Limit == admission.WatchesPerCaller {
		wait = time.Minute
	}
	return fault.New(fault.RateLimited, refusals[refusal.Limit]).WithRetryDelay(wait)
}

func peerOf(ctx context.Context) *Peer {
	if from, ok := peer.FromContext(ctx); ok {
		if known, ok := from.AuthInfo.(*Peer); ok {
			return known
		}
	}
	return &Peer{}
}

// maxHeaders limits the headers of a call, because a header uses more memory than its bytes.
const maxHeaders = 64

// headersKey is the context key of the error of a call whose headers are refused.
type headersKey struct{}

// HeaderLimit returns a function that gRPC runs before the handler of each call. The function marks
// calls with more than maxHeaders headers, or with headers of more than `limit` bytes, and the
// handlers refuse marked calls. If the function refused them itself, gRPC would not end the call's
// context, whose timer would run until the deadline that the client chose. The function also counts
// the calls of connections whose caller is not known yet.
func (s *Service) HeaderLimit(limit int) tap.ServerInHandle {
	errHeaders := &fault.Error{
		Reason:  fault.InvalidRequest,
		Message: "the headers of the call are too large",
		Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf(
			"at most %d headers and %d bytes are allowed; each header counts as its name, its value and 32 bytes",
			maxHeaders, limit)}},
	}
	return func(ctx context.Context, call *tap.Info) (context.Context, error) {
		if p := peerOf(ctx); p.caller.Load() == nil && p.Conn != nil {
			p.Conn.Called()
		}
		headers, size := 0, 0
		for name, values := range call.Header {
			headers += len(values)
			for _, value := range values {
				size += int(hpack.HeaderField{Name: name, Value: value}.Size())
			}
		}
		if headers <= maxHeaders && size <= limit {
			return ctx, nil
		}
		s.options.Reached(admission.HeaderBytes)
		return context.WithValue(ctx, headersKey{}, errHeaders), nil
	}
}
