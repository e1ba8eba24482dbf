package authentication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
)

// answers is an authenticator with one answer.
type answers struct {
	caller string
	err    error
}

func (a answers) Authenticate(context.Context, authentication.Evidence) (access.Caller, error) {
	return access.Caller{Name: a.caller}, a.err
}

func TestAny(t *testing.T) {
	var (
		none        = answers{err: authentication.ErrNoEvidence}
		wrong       = answers{err: fault.New(fault.CallerUnauthenticated, "wrong")}
		unavailable = answers{err: fault.New(fault.AuthenticationUnavailable, "unavailable").WithRetryDelay(time.Second)}
		good        = answers{caller: "good"}
		other       = answers{caller: "other"}
	)
	for name, test := range map[string]struct {
		all    []authentication.Authenticator
		caller string
		err    error
	}{
		"nobody is asked":              {nil, "", authentication.ErrNoEvidence},
		"no evidence":                  {all(none, none), "", authentication.ErrNoEvidence},
		"the first answers":            {all(none, good, other), "good", nil},
		"wrong does not spoil good":    {all(wrong, good), "good", nil},
		"unavailable does not either":  {all(unavailable, good), "good", nil},
		"wrong beats none":             {all(none, wrong, none), "", wrong.err},
		"unavailable beats wrong":      {all(wrong, unavailable), "", unavailable.err},
		"unavailable beats wrong, too": {all(unavailable, wrong, none), "", unavailable.err},
		"the caller has gone":          {all(wrong, answers{err: context.Canceled}), "", context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := authentication.Any(test.all...).Authenticate(t.Context(), authentication.Evidence{})
			if caller.Name != test.caller || !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("the caller is %q (%v), want %q (%v)", caller.Name, err, test.caller, test.err)
			}
		})
	}
}

func all(authenticators ...authentication.Authenticator) []authentication.Authenticator {
	return authenticators
}

func TestPeerUser(t *testing.T) {
	for id, want := range map[uint32]string{0: "uid:0", 1000: "uid:1000", 1<<32 - 1: "uid:4294967295"} {
		caller, err := authentication.PeerUser{}.Authenticate(t.Context(), authentication.Evidence{UserID: &id, Address: "unix"})
		if err != nil || caller != (access.Caller{Name: want, Method: "peer_user", Address: "unix"}) {
			t.Errorf("the caller is %+v (%v), want %s", caller, err, want)
		}
	}
	if caller, err := (authentication.PeerUser{}).Authenticate(t.Context(), authentication.Evidence{}); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("no user is %+v (%v)", caller, err)
	}
}

// wantRefused wants an error of this reason that has words, and a retry delay only where
// the reason passes.
func wantRefused(t *testing.T, err error, reason fault.Reason, message string) {
	t.Helper()
	var known *fault.Error
	if !errors.As(err, &known) {
		t.Fatalf("the error is %v, want a fault", err)
	}
	if known.Reason != reason || message != "" && known.Message != message || (known.RetryDelay > 0) != (reason == fault.AuthenticationUnavailable) {
		t.Errorf("the error is %s %q, again in %v; want %s %q", known.Reason, known.Message, known.RetryDelay, reason, message)
	}
}
