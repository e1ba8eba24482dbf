package fleettest

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is the error with which a call to the broker failed.
type Fault struct {
	Code    codes.Code
	Reason  string // the broker's reason; empty if the error is not from the broker
	Message string
	// RetryDelay is the time to wait before a retry; zero if the error has none.
	RetryDelay time.Duration
}

// FaultOf returns the Fault that a gRPC error contains.
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

// Describe returns code, reason and message of a call's error as text.
func Describe(err error) string {
	fault := FaultOf(err)
	return fmt.Sprintf("%v (%s): %s", fault.Code, cmp.Or(fault.Reason, "no reason"), fault.Message)
}
