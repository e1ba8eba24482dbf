package broker_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// recorder is an audit log in memory, whose writes fail while `failing` is set.
type recorder struct {
	mu      sync.Mutex
	records []audit.Record
	failing bool
}

func (r *recorder) Write(_ context.Context, record audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		return errors.New("no room")
	}
	r.records = append(r.records, record)
	return nil
}

func (r *recorder) take() []audit.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.records
	r.records = nil
	return taken
}

func (r *recorder) fail(failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = failing
}

func inAuditedWorld(t *testing.T, test func(w *world, r *recorder)) {
	t.Helper()
	r := new(recorder)
	inWorld(t, func(w *world) { test(w, r) }, func(o *broker.Options) { o.Audit = r })
}

func TestRecords(t *testing.T) {
	fail := func(answer simulator.Failure) func(*world) {
		return func(w *world) { w.sim.SendPulse.FailTokenRequests(answer) }
	}
	for operation, ask := range operations {
		for name, test := range map[string]struct {
			id      string
			prepare func(*world)
			outcome string
			grant   string
		}{
			"a token":                  {id: "mail", outcome: "OK", grant: "b.yaml:2"},
			"a static credential":      {id: "board", outcome: "OK", grant: "b.yaml:2"},
			"denied":                   {id: "other", outcome: "ACCESS_DENIED"},
			"denied, and disabled":     {id: "off", outcome: "ACCESS_DENIED"},
			"not found":                {id: "none", outcome: "CREDENTIAL_NOT_FOUND", grant: "b.yaml:2"},
			"no ID":                    {id: "NO ID", outcome: "INVALID_REQUEST"},
			"rejected by the provider": {id: "mail", prepare: fail(simulator.OAuthError(http.StatusUnauthorized, "invalid_client")), outcome: "CREDENTIAL_REJECTED", grant: "b.yaml:2"},
			"provider is down":         {id: "mail", prepare: fail(simulator.HTMLPage(http.StatusBadGateway)), outcome: "PROVIDER_UNAVAILABLE", grant: "b.yaml:2"},
		} {
			t.Run(operation+" "+name, func(t *testing.T) {
				inAuditedWorld(t, func(w *world, r *recorder) {
					w.restrict(grant("b.yaml:1", "nothing"), grant("b.yaml:2", "mail", "board", "none"))
					if test.prepare != nil {
						test.prepare(w)
					}
					decoration, _ := ask(w.Context(), w.broker, test.id)
					want := audit.Record{
						Caller: web.Caller, Operation: audit.Operation(operation), Action: access.Use, CredentialID: test.id,
						Grant: test.grant, Outcome: test.outcome,
					}
					if decoration != nil {
						want.Version = decoration.Version
						if want.Operation == audit.Report {
							want.Report = "ALREADY_REPLACED"
						}
					}
					if got := r.take(); len(got) != 1 || !reflect.DeepEqual(got[0], want) || (want.Version != "") != (test.outcome == "OK") {
						t.Errorf("the records are %+v, want %+v", got, want)
					}
				})
			})
		}
	}
}

// The audit records of calls that are cancelled while they wait for a token must have the outcome
// CALLER_GONE, and must not name a failure of the provider.
func TestRecordOfACallerThatHasGone(t *testing.T) {
	for operation, ask := range operations {
		if operation == string(audit.Watch) {
			continue // a watch writes audit records only for the states that it sends
		}
		inAuditedWorld(t, func(w *world, r *recorder) {
			w.sim.SendPulse.FailNextTokenRequests(1, simulator.Hang())
			ctx, cancel := context.WithCancel(w.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := ask(ctx, w.broker, "mail"); err == nil {
				t.Errorf("%s: the call succeeded, want an error", operation)
			}
			if got := r.take(); len(got) != 1 || got[0].Outcome != "CALLER_GONE" || got[0].Version != "" {
				t.Errorf("%s: the records are %+v, want one record with CALLER_GONE", operation, got)
			}
		})
	}
}

// The audit records of calls that are cancelled before they are denied must have the denial as the
// outcome. If the outcome were CALLER_GONE, a caller could hide its denied calls by letting their
// deadlines expire.
func TestRecordOfADenialWhoseCallerHasGone(t *testing.T) {
	for operation, ask := range operations {
		inAuditedWorld(t, func(w *world, r *recorder) {
			w.restrict(grant("1", "mail"))
			gone, leave := context.WithCancel(w.Context())
			leave()
			for id, want := range map[string]string{"other": "ACCESS_DENIED", "NO ID": "INVALID_REQUEST"} {
				if _, err := ask(gone, w.broker, id); err == nil {
					t.Errorf("%s: the call succeeded, want an error", operation)
				}
				if got := r.take(); operation != string(audit.Watch) && (len(got) != 1 || got[0].Outcome != want) {
					t.Errorf("%s: the records are %+v, want one record with %s", operation, got, want)
				}
			}
		})
	}
}

// A batch writes an audit record for each ID, and a watch for each state.
func TestRecordOfEachItem(t *testing.T) {
	inAuditedWorld(t, func(w *world, r *recorder) {
		w.restrict(grant("1", "mail"))
		w.broker.GetBatch(w.Context(), web, []string{"mail", "board", "mail"})
		if got := r.take(); len(got) != 3 || got[0].Outcome != "OK" || got[1].Outcome != "ACCESS_DENIED" || got[2].CredentialID != "mail" {
			t.Errorf("the records are %+v", got)
		}
		s := follower{w, w.broker.Watch(web, nil, []string{"mail"})}
		defer s.Close()
		s.next(0)
		s.wantNothing(time.Minute)
		w.restrict()
		s.wantReason("mail", fault.AccessDenied)
		if got := r.take(); len(got) != 2 || got[0].Outcome != "OK" || got[0].Grant != "1" || got[1].Outcome != "ACCESS_DENIED" || got[1].Grant != "" {
			t.Errorf("the records are %+v, want one record of each state", got)
		}
	})
}

// Every call fails while audit records cannot be written.
func TestNothingGoesOutWithoutItsRecord(t *testing.T) {
	for operation, ask := range operations {
		inAuditedWorld(t, func(w *world, r *recorder) {
			w.restrict(grant("1", "mail", "board"))
			for _, id := range []string{"mail", "board", "other"} {
				r.fail(true)
				if _, err := ask(w.Context(), w.broker, id); fault.From(err).Reason != fault.Internal {
					t.Errorf("%s %s: the error is %v, want INTERNAL", operation, id, err)
				}
				r.fail(false)
				want := fault.AccessDenied
				decoration, err := ask(w.Context(), w.broker, id)
				if id == "other" && fault.From(err).Reason != want || id != "other" && (err != nil || decoration == nil) {
					t.Errorf("%s %s: the error is %v after the log works again", operation, id, err)
				}
			}
		})
	}
}

// noDenials is a broker.Denials whose limit is always reached.
type noDenials struct{}

func (noDenials) Allow(access.Caller) bool { return false }

// The caller of the watch has reached the limit of recorded denials. The first denial is sent
// without an audit record. A later denial, which a reload causes, is recorded.
func TestDenialsOfAWatchBeyondTheLimit(t *testing.T) {
	r := new(recorder)
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "board"))
		s := follower{w, w.broker.Watch(web, nil, []string{"mail", "board"})}
		defer s.Close()
		s.wantReason("mail", fault.AccessDenied)
		s.next(0)
		r.take()
		w.restrict()
		s.wantReason("board", fault.AccessDenied)
		if got := r.take(); len(got) != 1 || got[0].CredentialID != "board" || got[0].Outcome != "ACCESS_DENIED" {
			t.Errorf("the records are %+v, want one record, of the second denial", got)
		}
	}, func(o *broker.Options) { o.Audit, o.Denials = r, noDenials{} })
}
