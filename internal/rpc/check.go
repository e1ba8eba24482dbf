package rpc

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// The bounds that the proto's comments state.
const (
	maxBatch       = 100
	maxVersionSize = 64
)

func checkBatch(request *authmaterialv1.BatchGetAuthDecorationsRequest) error {
	if n := len(request.GetCredentialIds()); n == 0 || n > maxBatch {
		return invalid(fault.Violation{
			Field:       "credential_ids",
			Description: fmt.Sprintf("must hold 1 to %d IDs, and holds %d", maxBatch, n),
		})
	}
	return nil
}

func checkReport(request *authmaterialv1.ReportRejectionRequest) error {
	var violations []fault.Violation
	if version := request.GetVersion(); version == "" || len(version) > maxVersionSize || !visible(version) {
		violations = append(violations, fault.Violation{
			Field:       "version",
			Description: fmt.Sprintf("must be 1 to %d visible ASCII characters, as a decoration has them", maxVersionSize),
		})
	}
	if status := request.GetHttpStatus(); status < 100 || status > 599 {
		violations = append(violations, fault.Violation{
			Field:       "http_status",
			Description: fmt.Sprintf("must be the HTTP status of the provider's answer, 100 to 599, and is %d", status),
		})
	}
	if violations != nil {
		return invalid(violations...)
	}
	return nil
}

func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

func invalid(violations ...fault.Violation) error {
	var fields []string
	for _, violation := range violations {
		fields = append(fields, violation.Field+" "+violation.Description)
	}
	return &fault.Error{Reason: fault.InvalidRequest, Message: strings.Join(fields, "; "), Violations: violations}
}
