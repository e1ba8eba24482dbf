package fleettest

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is the error of a call.
type Fault struct {
	Code    codes.Code
	Reason  string // that of the broker; empty: the error is not the broker's
	Message string
	// RetryDelay is when to try again; zero: the broker does not say.
	RetryDelay time.Duration
}

// FaultOf returns what an error says.
func FaultOf(err error) Fault {
	got := status.Convert(err)
	fault := Fault{Code: got.Code(), Message: got.Message()}
	for _, detail := range got.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fault.Reason = detail.GetReason()
		case *errdetails.RetryInfo:
			fault.RetryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	return fault
}

// Describe is the error of a call in words: its code, reason and message.
func Describe(err error) string {
	fault := FaultOf(err)
	return fmt.Sprintf("%v (%s): %s", fault.Code, cmp.Or(fault.Reason, "no reason"), fault.Message)
}
