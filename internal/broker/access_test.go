package broker_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// web is the caller to which these tests grant credentials.
var web = broker.Caller{Caller: access.Caller{Name: "spiffe://prod/web", Method: "mutual_tls", Address: "192.0.2.1:4711"}}

func grant(source string, ids ...access.Pattern) access.Grant {
	return access.Grant{Callers: []access.Pattern{"spiffe://prod/*"}, Credentials: ids, Actions: []access.Action{access.Use}, Source: source}
}

const off = `{id: off, disabled: true, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}`

// restrict does the same as `take`, and then waits until the broker has handled the reload.
func (w *world) restrict(grants ...access.Grant) {
	w.Helper()
	w.take(grants...)
	synctest.Wait()
}

// `take` reloads the configuration with the given grants and the credentials `mail`, `board` and
// `off`.
func (w *world) take(grants ...access.Grant) {
	w.Helper()
	if err := w.broker.Use(load(w.parse(mail(w.first), board("first"), off).Credentials, access.NewPolicy(grants...))); err != nil {
		w.Error(err)
	}
}

// operations contains each kind of call that returns a credential's decoration.
var operations = map[string]func(ctx context.Context, b *broker.Broker, id string) (*broker.Decoration, error){
	"get": func(ctx context.Context, b *broker.Broker, id string) (*broker.Decoration, error) {
		return b.Get(ctx, web, id)
	},
	"batch": func(ctx context.Context, b *broker.Broker, id string) (*broker.Decoration, error) {
		result := b.GetBatch(ctx, web, []string{id})[0]
		return result.Decoration, result.Err
	},
	"report": func(ctx context.Context, b *broker.Broker, id string) (*broker.Decoration, error) {
		decoration, outcome, err := b.ReportRejection(ctx, web, id, "v", 401)
		if (err == nil) != (outcome != "") {
			return nil, fmt.Errorf("the call returned the outcome %q although it failed: %w", outcome, err)
		}
		return decoration, err
	},
	"watch": func(ctx context.Context, b *broker.Broker, id string) (*broker.Decoration, error) {
		watch := b.Watch(web, nil, []string{id})
		defer watch.Close()
		result, err := watch.Next(ctx)
		return result.Decoration, errors.Join(result.Err, err)
	},
}

// A denied caller gets the same error for existing, disabled and missing credentials.
func TestDeniedCallerDoesNotLearnWhatThereIs(t *testing.T) {
	for name, ask := range operations {
		for policy, grants := range map[string][]access.Grant{
			"no grant":                    nil,
			"for another credential":      {grant("1", "other")},
			"for another caller":          {{Callers: []access.Pattern{"spiffe://test/*"}, Credentials: []access.Pattern{"*"}, Providers: []string{"pendo", "sendpulse"}, Actions: []access.Action{access.Use}}},
			"for another action":          {{Callers: []access.Pattern{"*"}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Manage}}},
			"for another's provider":      {{Callers: []access.Pattern{"*"}, Providers: []string{"pulsedive"}, Actions: []access.Action{access.Use}}},
			"for callers of another kind": {{Callers: []access.Pattern{"uid:*"}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Use}}},
		} {
			t.Run(name+" "+policy, func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.restrict(grants...)
					var first *fault.Error
					for _, id := range []string{"mail", "board", "off", "none"} {
						began := time.Now()
						decoration, err := ask(w.Context(), w.broker, id)
						known := fault.From(err)
						if first == nil {
							first = known
						}
						if decoration != nil || known.Reason != fault.AccessDenied || !reflect.DeepEqual(known, first) {
							t.Errorf("%s: the error is %+v, want the same ACCESS_DENIED for all IDs", id, known)
						}
						if strings.Contains(known.Message, id) {
							t.Errorf("the error for the credential %s contains its ID: %q", id, known.Message)
						}
						if waited := time.Since(began); waited != 0 {
							t.Errorf("for the credential %s, the caller waited %v", id, waited)
						}
					}
					synctest.Wait()
					w.wantRequests(0)
				})
			})
		}
	}
}

// A report by a denied caller does not renew the token, even if the caller knows the token's
// version.
func TestDeniedReportRenewsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		version := w.version()
		w.restrict(grant("1", "board"))
		_, _, err := w.broker.ReportRejection(w.Context(), web, "mail", version, 401)
		w.checkReason(err, fault.AccessDenied)
		w.wantRequests(1)
		w.restrict(grant("1", "mail"))
		if decoration := w.getAs(web); decoration.Version != version {
			t.Error("the token was replaced")
		}
	})
}

func (w *world) getAs(caller broker.Caller) *broker.Decoration {
	w.Helper()
	decoration, err := w.broker.Get(w.Context(), caller, "mail")
	if err != nil {
		w.Fatalf("get: %v", err)
	}
	return decoration
}

func TestGrantedCaller(t *testing.T) {
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "mail", "n*"), access.Grant{Callers: []access.Pattern{access.Pattern(web.Name)}, Providers: []string{"pendo"}, Actions: []access.Action{access.Use}})
		for name, ask := range operations {
			for id, want := range map[string]fault.Reason{"mail": "", "board": "", "off": fault.CredentialNotFound, "none": fault.CredentialNotFound, "other": fault.AccessDenied, "NO ID": fault.InvalidRequest} {
				decoration, err := ask(w.Context(), w.broker, id)
				if want == "" && (err != nil || decoration == nil) || want != "" && (decoration != nil || fault.From(err).Reason != want) {
					t.Errorf("%s %s: the error is %v, want the reason %v", name, id, err, want)
				}
			}
		}
	})
}

func TestBatchIsDecidedItemByItem(t *testing.T) {
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "board", "none"))
		want := map[string]fault.Reason{"mail": fault.AccessDenied, "board": "", "off": fault.AccessDenied, "none": fault.CredentialNotFound, "other": fault.AccessDenied}
		for _, result := range w.broker.GetBatch(w.Context(), web, []string{"mail", "board", "off", "none", "other"}) {
			if reason := want[result.CredentialID]; reason == "" && result.Err != nil || reason != "" && fault.From(result.Err).Reason != reason {
				t.Errorf("%s: the error is %v, want the reason %v", result.CredentialID, result.Err, reason)
			}
		}
		w.wantRequests(0)
	})
}

// TestWatchFollowsGrants removes the caller's grants while a watch is open, and then restores them.
func TestWatchFollowsGrants(t *testing.T) {
	inWorld(t, func(w *world) {
		both := grant("1", "mail", "board")
		w.restrict(both)
		s := follower{w, w.broker.Watch(web, nil, []string{"mail", "board"})}
		defer s.Close()
		s.next(0)
		s.next(0)
		s.wantNothing(time.Minute)
		version := w.getAs(web).Version

		w.restrict(grant("1", "board"))
		s.wantReason("mail", fault.AccessDenied)
		s.wantNothing(2 * time.Hour) // while the grant is missing, the broker does not renew the token
		w.restrict(grant("2", "board"), grant("3", "other"))
		s.wantNothing(time.Minute)
		w.restrict()
		s.wantReason("board", fault.AccessDenied)
		w.restrict(grant("1", "board"))
		if result := s.next(0); result.CredentialID != "board" || result.Err != nil {
			t.Errorf("the watch sends the credential %s (error: %v), want `board`", result.CredentialID, result.Err)
		}
		w.restrict(both)
		if result := s.next(time.Second); result.CredentialID != "mail" || result.Err != nil || result.Decoration.Version == version {
			t.Errorf("the watch sends the credential %s (error: %v), want a later token of `mail`", result.CredentialID, result.Err)
		}
	})
}

// The key that authenticated the watch's caller is withdrawn before the watch begins, so the watch
// must fail.
func TestKeyWithdrawnBeforeAWatchBegins(t *testing.T) {
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "mail"))
		caller := broker.Caller{Caller: web.Caller, By: w.broker.Current()}
		w.broker.ProofsChanged()
		watch := w.broker.Watch(caller, func(context.Context, *broker.Generation) (access.Caller, error) {
			return access.Caller{}, fault.New(fault.CallerUnauthenticated, "withdrawn")
		}, []string{"mail"})
		defer watch.Close()
		if _, err := watch.Next(w.Context()); fault.From(err).Reason != fault.CallerUnauthenticated {
			t.Errorf("the error of the watch is %v, want CALLER_UNAUTHENTICATED", err)
		}
	})
}

// The watch must send the denial instead of the token that it waits for.
func TestGrantTakenAwayWhileAWatchWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "mail"))
		release := w.sim.SendPulse.HoldTokenAnswers()
		s := follower{w, w.broker.Watch(web, nil, []string{"mail"})}
		defer s.Close()
		time.AfterFunc(time.Second, func() { w.take() })
		result, err := s.Next(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.checkReason(result.Err, fault.AccessDenied)
		release()
		s.wantNothing(time.Second)
	})
}

// The configuration is reloaded while callers cannot be authenticated. An open watch must continue
// with those credentials that both the old and the new grants allow.
func TestUnidentifiedCallerNeedsBothGrants(t *testing.T) {
	inWorld(t, func(w *world) {
		w.restrict(grant("1", "mail"))
		caller := broker.Caller{Caller: web.Caller, By: w.broker.Current()}
		s := follower{w, w.broker.Watch(caller, func(context.Context, *broker.Generation) (access.Caller, error) {
			return access.Caller{}, fault.New(fault.AuthenticationUnavailable, "unavailable")
		}, []string{"mail", "board"})}
		defer s.Close()
		s.wantReasonWithin(time.Second, "board", fault.AccessDenied)
		s.wantVersion("mail", w.getAs(web).Version)
		w.restrict(grant("1", "mail", "board"))
		s.wantNothing(time.Minute)
		w.restrict(grant("1", "board"))
		s.wantReason("mail", fault.AccessDenied)
		s.wantNothing(time.Minute)
	})
}
