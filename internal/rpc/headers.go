package rpc

import (
	"context"
	"fmt"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/tap"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/fault"
)

// maxHeaders is how many headers a call may have. Each takes up more than its bytes.
const maxHeaders = 64

// headersKey is the key of the *fault.Error of a call whose headers are too many or too large.
type headersKey struct{}

var errManyHeaders = &fault.Error{
	Reason:     fault.InvalidRequest,
	Message:    "the call has too many headers",
	Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d is the most", maxHeaders)}},
}

// HeaderLimit returns a tap.ServerInHandle that has calls with headers of more bytes, or too many of
// them, be refused when they are handled: gRPC would not end the context of one that is refused at
// once, whose timer stays for as long as the client likes.
func HeaderLimit(most int) tap.ServerInHandle {
	errLargeHeaders := &fault.Error{
		Reason:     fault.InvalidRequest,
		Message:    "the headers of the call are too large",
		Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d bytes in all are the most, 32 counted for each header beside its name and value", most)}},
	}
	return func(ctx context.Context, call *tap.Info) (context.Context, error) {
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

// refuseHeaders is the end of a call whose headers are too many or too large.
func (c *call) refuseHeaders(why *fault.Error) error {
	c.ended.Excess = true
	c.service.reached(admission.HeaderBytes)
	return why
}
