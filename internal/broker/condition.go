package broker

import (
	"time"

	"github.com/authmaterial/broker/internal/cache"
)

// condition is the state of one version of a credential, with its explanation. The time is that of
// Options.Clock.
type condition struct {
	state       State
	since       time.Time
	explanation string
}

// Explanations consist of the following sentences, and of sentences in a fault.Error.
const (
	isDisabled   = "The credential is disabled: callers get CREDENTIAL_NOT_FOUND until somebody enables it."
	isUnusable   = "The stored values cannot be decrypted, or the definition of the provider has changed: the broker's log names the problem."
	isUnused     = "Nobody has used the current values since the broker started."
	isServed     = "Callers get the material, and none has reported that the provider rejects it."
	isReported   = "A caller has reported that the provider rejects the material. The state stays until a verification shows that the provider accepts the values, the values change, or the broker restarts."
	isValid      = "Callers get a token that the provider issued."
	isExpired    = "The latest token has expired without a renewal, because no caller asked for it. The broker requests a new token for the next call."
	isReplaced   = "The values have changed, and callers get the token of the previous values until the provider issues a token for the new ones."
	stillValid   = "Callers get the current token until it ends."
	stillFormer  = "Callers get the token of the previous values until it ends."
	noneValid    = "Callers get an error."
	fixDeclared  = "Correct the values in the configuration file."
	fixManaged   = "Add a version with correct values, or activate an earlier version."
	fixElsewhere = "The broker repeats the token request by itself. If this lasts, check the provider's status page and the network."
)

// `fix` returns the sentence that tells people how to repair refused values.
func (e *entry) fix() string {
	if e.credential.Stored != nil {
		return fixManaged
	}
	return fixDeclared
}

func (b *Broker) condition(e *entry, now time.Time) condition {
	a, unusable := e.opened.Load(), e.unusable.Load()
	switch {
	case e.credential.Disabled:
		return condition{state: Disabled, explanation: isDisabled}
	case a == nil && e.credential.Stored != nil && e.credential.Stored.Problem != "":
		return condition{state: Unavailable, explanation: e.credential.Stored.Problem + " " + noneValid}
	case a == nil && unusable != nil:
		return condition{Unavailable, *unusable, isUnusable}
	case a == nil:
		return condition{state: NotYetUsed, explanation: isUnused}
	case a.source == nil:
		return e.staticCondition(a)
	default:
		return b.tokenCondition(e, a, now)
	}
}

func (e *entry) staticCondition(a *account) condition {
	d := a.latest.Load()
	switch {
	case d == nil:
		return condition{state: NotYetUsed, explanation: isUnused}
	case !d.LastRejectionTime.IsZero():
		return condition{Refused, d.rejection.since, isReported + " " + e.fix()}
	default:
		return condition{Ready, d.since, isServed}
	}
}

func (b *Broker) tokenCondition(e *entry, a *account, now time.Time) condition {
	s, g := b.options.Tokens.Status(a.tokenKey), b.graceOf(a)
	valid := s.Token != nil && now.Before(s.Token.LastEnd())
	switch {
	case s.Failure == nil && g != nil:
		return condition{Ready, g.until.Add(-gracePatience), isReplaced}
	case s.Failure == nil && s.Token == nil:
		return condition{state: NotYetUsed, explanation: isUnused}
	case s.Failure == nil && valid:
		return condition{Ready, s.Since, isValid}
	case s.Failure == nil:
		return condition{Ready, s.Since, isExpired}
	case valid:
		return condition{RenewalFailing, s.Since, e.failing(s.Failure, stillValid)}
	case g != nil:
		return condition{RenewalFailing, s.Since, e.failing(s.Failure, stillFormer)}
	}
	since := s.Since
	if s.Token != nil && s.Token.LastEnd().After(since) {
		since = s.Token.LastEnd()
	}
	state := Unavailable
	if s.Failure.Refusal {
		state = Refused
	}
	return condition{state, since, e.failing(s.Failure, noneValid)}
}

// `failing` explains a failure of token requests. The parameter `served` describes what callers get.
func (e *entry) failing(failure *cache.Failure, served string) string {
	fix := fixElsewhere
	if failure.Refusal {
		fix = e.fix()
	}
	return failure.Fault.Message + ". " + served + " " + fix
}
