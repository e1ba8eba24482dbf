package fleettest

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is the error that a call to the broker returned.
type Fault struct {
	Code    codes.Code
	Reason  string // the reason in the error; empty if the error is not from the broker
	Message string
	// RetryDelay is how long the caller should wait before a retry, or zero if the error contains
	// no delay.
	RetryDelay time.Duration
}

// FaultOf returns a gRPC error as a Fault.
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

// Describe returns the code, the reason and the message of a call's error.
func Describe(err error) string {
	fault := FaultOf(err)
	return fmt.Sprintf("%v (%s): %s", fault.Code, cmp.Or(fault.Reason, "no reason"), fault.Message)
}
