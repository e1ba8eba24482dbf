package rpc

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// The bounds that the proto's comments state.
const (
	maxIDs         = 100
	maxVersionSize = 64
)

// checkIDs checks how many IDs a batch or a watch has. What is wrong with one of them
// is that one's error.
func checkIDs(ids []string) error {
	if n := len(ids); n == 0 || n > maxIDs {
		return invalid(fault.Violation{
			Field:       "credential_ids",
			Description: fmt.Sprintf("must hold 1 to %d IDs, and holds %d", maxIDs, n),
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
