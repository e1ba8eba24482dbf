package rpc

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// The bounds in the comments of the protos.
const (
	maxIDs         = 100
	maxIDSize      = 128 // characters
	maxVersionSize = 64
)

// checkIDs checks the number of IDs in a batch or a watch. An invalid ID is an error of that ID alone.
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
	if version := request.GetVersion(); version == "" || len(version) > maxVersionSize || strings.ContainsFunc(version, invisible) {
		violations = append(violations, fault.Violation{
			Field:       "version",
			Description: fmt.Sprintf("must be 1 to %d visible ASCII characters, as in the decoration", maxVersionSize),
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

// invisible reports whether a character is not visible ASCII.
func invisible(r rune) bool { return r <= ' ' || r > '~' }

// invalid returns the error of a malformed request.
func invalid(violations ...fault.Violation) error {
	var fields []string
	for _, violation := range violations {
		fields = append(fields, violation.Field+" "+violation.Description)
	}
	return &fault.Error{Reason: fault.InvalidRequest, Message: strings.Join(fields, "; "), Violations: violations}
}

// Shorten returns the first 128 characters of an ID: no valid ID is longer.
func Shorten(id string) string {
	if utf8.RuneCountInString(id) <= maxIDSize {
		return id
	}
	return string([]rune(id)[:maxIDSize])
}
