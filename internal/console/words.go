package console

import (
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// words are the functions of the templates.
var words = template.FuncMap{
	"state": stateOf, "version": versionStateOf, "outcome": outcomeOf, "ago": ago, "age": age, "restorable": restorable, "until": until, "moment": moment,
	"machine": machine, "lasting": lasting, "event": sentenceOf, "rotation": rotationOf, "join": strings.Join, "contains": strings.Contains, "logo": logoOf, "prose": prose,
}

// prose returns a text of a provider's definition as HTML, with the parts between backticks as code.
func prose(text string) template.HTML {
	escaped := template.HTMLEscapeString(text)                                     // escapes no backticks
	return template.HTML(inBackticks.ReplaceAllString(escaped, "<code>$1</code>")) //nolint:gosec // the text is escaped
}

var inBackticks = regexp.MustCompile("`([^`]+)`")

// mark is a word with the class that colours it.
type mark struct{ Word, Class string }

var states = map[authmaterialv1.CredentialState]mark{
	authmaterialv1.CredentialState_CREDENTIAL_STATE_UNSPECIFIED:     {"Unknown", "off"},
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

// operations are the sentences of the history, by CredentialEvent.operation. The second text,
// followed by the number of the version, is used if the event is about a version.
var operations = map[string][2]string{
	"create_credential":   {"created the credential"},
	"update_credential":   {"changed the credential"},
	"delete_credential":   {"deleted the credential"},
	"undelete_credential": {"restored the credential"},
	"purge_credential":    {"removed the credential for good"},
	"create_version":      {"added a version", "added version"},
	"activate_version":    {"activated a version", "activated version"},
	"withdraw_canary":     {"withdrew the canary"},
	"destroy_version":     {"destroyed a version", "destroyed version"},
	"verify_credential":   {"verified values that are not saved", "verified version"},
}

// sentenceOf returns what an event of the history did, such as `activated version 3`.
func sentenceOf(event *authmaterialv1.CredentialEvent) string {
	known, ok := operations[event.GetOperation()]
	text := known[0]
	switch {
	case !ok:
		text = event.GetOperation()
	case slices.Contains(event.GetFields(), "canary"):
		text = fmt.Sprintf("gave version %d to some callers", event.GetVersion())
	case event.GetVersion() > 0 && known[1] != "":
		text = fmt.Sprintf("%s %d", known[1], event.GetVersion())
	}
	if event.GetOutcome() != authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_UNSPECIFIED {
		text += ": " + strings.ToLower(outcomeOf(event.GetOutcome()).Word)
	}
	return text
}

func rotationOf(rotation authmaterialv1.Rotation) string {
	switch rotation {
	case authmaterialv1.Rotation_ROTATION_OVERLAPPING:
		return "When you create a new secret, the old one stays valid."
	case authmaterialv1.Rotation_ROTATION_REVOKES_PREVIOUS:
		return "When you create a new secret, the old one stops working at once. Save the new secret here without delay."
	case authmaterialv1.Rotation_ROTATION_UNKNOWN, authmaterialv1.Rotation_ROTATION_UNSPECIFIED:
	}
	return "It is not known whether the old secret stays valid when you create a new one."
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

// age returns the time that has passed since a moment, such as `3 days`.
func age(at *timestamppb.Timestamp) string { return span(time.Since(at.AsTime())) }

// until returns when a time will be, such as `in 40 minutes`. If the time is over, until returns what
// ago returns.
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

// restorable returns the last day, in UTC, on which a credential that was deleted at a time can be
// restored.
func restorable(deleted *timestamppb.Timestamp) string {
	return deleted.AsTime().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
}

// machine returns a time in the form of the HTML attribute datetime.
func machine(at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	return at.AsTime().UTC().Format(time.RFC3339)
}

// lasting returns a duration for people.
func lasting(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	return d.Round(time.Second).String()
}
