package authentication_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
)

type answers struct {
	caller string
	err    error
}

func (a answers) Authenticate(context.Context, authentication.Evidence) (access.Caller, error) {
	return access.Caller{Name: a.caller}, a.err
}

type counter struct{ n int }

func (c *counter) Inc() { c.n++ }

// TestSet checks that Identify tries the methods in order and counts each outcome, and that Recheck
// counts nothing.
func TestSet(t *testing.T) {
	var (
		none        = answers{err: authentication.ErrNoEvidence}
		wrong       = answers{err: fault.New(fault.CallerUnauthenticated, "wrong")}
		unavailable = answers{err: fault.New(fault.AuthenticationUnavailable, "unavailable").WithRetryDelay(time.Second)}
		good        = answers{caller: "good"}
		other       = answers{caller: "other"}
		gone        = answers{err: context.Canceled}
	)
	const nobody = "no accepted token or client certificate was sent"
	for name, test := range map[string]struct {
		all    []answers
		caller string
		err    string
		counts [5]int // the wanted counts of OK, Refused, Deferred, Unavailable, and of calls without evidence
	}{
		"no method":                       {nil, "", nobody, [5]int{4: 1}},
		"no evidence":                     {all(none, none), "", nobody, [5]int{4: 1}},
		"the first answers":               {all(none, good, other), "good", "", [5]int{0: 1}},
		"wrong does not spoil good":       {all(wrong, good), "good", "", [5]int{0: 1, 1: 1}},
		"unavailable does not spoil good": {all(unavailable, good), "good", "", [5]int{0: 1, 3: 1}},
		"wrong beats none":                {all(none, wrong, none), "", "wrong", [5]int{1: 1}},
		"unavailable beats wrong":         {all(wrong, unavailable), "", "unavailable", [5]int{1: 1, 3: 1}},
		"unavailable beats later wrong":   {all(unavailable, wrong, none), "", "unavailable", [5]int{1: 1, 3: 1}},
		"the call is cancelled":           {all(wrong, gone), "", context.Canceled.Error(), [5]int{1: 1, 3: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var counters [5]counter
			counts := authentication.Counts{OK: &counters[0], Refused: &counters[1], Deferred: &counters[2], Unavailable: &counters[3]}
			var methods []authentication.Method
			for _, a := range test.all {
				methods = append(methods, authentication.Method{Name: "method of " + a.caller, Authenticator: a, Counts: counts})
			}
			set := authentication.NewSet(nil, &counters[4], methods...)
			want := func(caller access.Caller, err error) {
				t.Helper()
				if err == nil && (caller.Method != "method of "+test.caller || caller.Address != "address" || !caller.PrivateSocket) {
					t.Errorf("the caller is %+v, want a caller with the method, the address and the kind of socket of the call", caller)
				}
				if caller.Name != test.caller || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
					t.Errorf("the caller is %q (%v), want %q (%s)", caller.Name, err, test.caller, test.err)
				}
			}
			evidence := authentication.Evidence{Address: "address", PrivateSocket: true}
			want(set.Identify(t.Context(), evidence))
			want(set.Recheck(t.Context(), evidence))
			for i, c := range counters {
				if c.n != test.counts[i] {
					t.Errorf("the counter with the index %d is %d, want %d", i, c.n, test.counts[i])
				}
			}
		})
	}
}

func all(methods ...answers) []answers { return methods }

func TestPeerUser(t *testing.T) {
	for id, want := range map[uint32]string{0: "uid:0", 1000: "uid:1000", 1<<32 - 1: "uid:4294967295"} {
		caller, err := authentication.PeerUser{}.Authenticate(t.Context(), authentication.Evidence{UserID: &id})
		if err != nil || !reflect.DeepEqual(caller, access.Caller{Name: want}) {
			t.Errorf("the caller is %+v (%v), want %s", caller, err, want)
		}
	}
	if caller, err := (authentication.PeerUser{}).Authenticate(t.Context(), authentication.Evidence{}); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("without a user ID, the caller is %+v (%v)", caller, err)
	}
}

// wantRefused checks the reason and the message of an error, and that it has a retry delay only if
// the reason is temporary. If `message` is empty, the error may have any message.
func wantRefused(t *testing.T, err error, reason fault.Reason, message string) {
	t.Helper()
	var known *fault.Error
	if !errors.As(err, &known) {
		t.Fatalf("the error is %v, want a *fault.Error", err)
	}
	if known.Reason != reason || message != "" && known.Message != message || (known.RetryDelay > 0) != (reason == fault.AuthenticationUnavailable) {
		t.Errorf("the error is %s %q with the retry delay %v; want %s %q", known.Reason, known.Message, known.RetryDelay, reason, message)
	}
}
