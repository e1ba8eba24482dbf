package rpc

import (
	"fmt"

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

// refuseHeaders is the end of a call whose headers are too many or too large.
func (c *call) refuseHeaders(why *fault.Error) error {
	c.ended.Excess = true
	c.service.reached(admission.HeaderBytes)
	return why
}
