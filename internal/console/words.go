package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// words are the functions of the templates.
var words = template.FuncMap{
	"state": stateOf, "version": versionStateOf, "outcome": outcomeOf, "ago": ago, "until": until, "moment": moment,
	"operation": operationOf, "rotation": rotationOf, "join": strings.Join, "slot": slot,
}

// mark is a word with the class that colours it.
type mark struct{ Word, Class string }

var states = map[authmaterialv1.CredentialState]mark{
	authmaterialv1.CredentialState_CREDENTIAL_STATE_READY:           {"Ready", "good"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_NOT_YET_USED:    {"Not yet used", "calm"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_RENEWAL_FAILING: {"Renewal failing", "warn"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_REFUSED:         {"Refused", "bad"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_UNAVAILABLE:     {"Unavailable", "bad"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_DISABLED:        {"Disabled", "off"},
	authmaterialv1.CredentialState_CREDENTIAL_STATE_DELETED:         {"Deleted", "off"},
}

func stateOf(state authmaterialv1.CredentialState) mark {
	if known, ok := states[state]; ok {
		return known
	}
	return mark{"Unknown", "off"}
}

func versionStateOf(state authmaterialv1.VersionState) mark {
	switch state {
	case authmaterialv1.VersionState_VERSION_STATE_ACTIVE:
		return mark{"Active", "good"}
	case authmaterialv1.VersionState_VERSION_STATE_CANARY:
		return mark{"Canary", "warn"}
	case authmaterialv1.VersionState_VERSION_STATE_DESTROYED:
		return mark{"Destroyed", "off"}
	case authmaterialv1.VersionState_VERSION_STATE_ENABLED, authmaterialv1.VersionState_VERSION_STATE_UNSPECIFIED:
	}
	return mark{"Not in use", "calm"}
}

func outcomeOf(outcome authmaterialv1.VerificationOutcome) mark {
	switch outcome {
	case authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED:
		return mark{"Accepted", "good"}
	case authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_REFUSED:
		return mark{"Refused", "bad"}
	case authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_INCONCLUSIVE, authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_UNSPECIFIED:
	}
	return mark{"Inconclusive", "warn"}
}

// operations are the sentences of the history, by CredentialEvent.operation.
var operations = map[string]string{
	"create": "created the credential", "update": "changed", "delete": "deleted the credential", "undelete": "restored the credential",
	"create_version": "added a version", "activate": "activated a version", "canary": "gave a version to some callers",
	"withdraw": "withdrew the canary", "destroy": "destroyed a version", "verify": "verified", "purge": "removed the credential for good",
}

func operationOf(operation string) string {
	if known, ok := operations[operation]; ok {
		return known
	}
	return operation
}

func rotationOf(rotation authmaterialv1.Rotation) string {
	switch rotation {
	case authmaterialv1.Rotation_ROTATION_OVERLAPPING:
		return "A new secret does not end the old one: both work for a while."
	case authmaterialv1.Rotation_ROTATION_REVOKES_PREVIOUS:
		return "A new secret ends the old one at once. Save the new secret here right after you have generated it."
	case authmaterialv1.Rotation_ROTATION_UNKNOWN, authmaterialv1.Rotation_ROTATION_UNSPECIFIED:
	}
	return "The provider does not say whether a new secret ends the old one."
}

// ago returns how long ago a time was, such as `3 days ago`.
func ago(at *timestamppb.Timestamp) string {
	if at == nil {
		return "never"
	}
	since := time.Since(at.AsTime())
	if since < time.Minute {
		return "just now"
	}
	return span(since) + " ago"
}

// until returns how far away a time is, such as `in 40 minutes`.
func until(at *timestamppb.Timestamp) string {
	if at == nil {
		return "never"
	}
	left := time.Until(at.AsTime())
	switch {
	case left < -time.Minute:
		return ago(at)
	case left < time.Minute:
		return "in less than a minute"
	}
	return "in " + span(left)
}

func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {30 * 24 * time.Hour, "month"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / unit.size); {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "less than a minute"
}

// moment returns a time for people, in UTC.
func moment(at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	return at.AsTime().UTC().Format("2006-01-02 15:04 UTC")
}

// place is where a form shows the problem of one field.
type place struct{ Name, Text string }

func slot(fields map[string]string, name string) place { return place{name, fields[name]} }
