package broker_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// inGroups returns the caller of a token that puts its subject into these groups.
func inGroups(groups ...string) broker.Caller {
	return broker.Caller{Caller: access.Caller{Name: "jwt:main:alice", Groups: groups, Method: "jwt"}}
}

// TestGroupsDecideForEachCall makes calls with tokens of one subject that differ in their groups.
// The calls alternate, so that a decision for one token would be wrong for the next one.
func TestGroupsDecideForEachCall(t *testing.T) {
	inWorld(t, func(w *world) {
		w.useFor("group:main:admins", board("first"))
		for range 3 {
			for _, test := range []struct {
				caller  broker.Caller
				allowed bool
			}{
				{inGroups("group:main:admins", "group:main:users"), true},
				{inGroups("group:main:users"), false},
				{inGroups("group:main:admins"), true},
				{inGroups(), false},
			} {
				_, err := w.broker.Get(w.Context(), test.caller, "board")
				if (err == nil) != test.allowed || err != nil && fault.From(err).Reason != fault.AccessDenied {
					t.Errorf("with the groups %q, the error is %v; want access to be allowed: %v", test.caller.Groups, err, test.allowed)
				}
			}
		}
	})
}

// TestWatchFollowsGroups checks that a watch uses the groups in which the newest configuration
// puts its caller.
func TestWatchFollowsGroups(t *testing.T) {
	inWorld(t, func(w *world) {
		var groups []string
		watch := w.broker.Watch(inGroups("group:main:admins"), func(context.Context, *broker.Generation) (access.Caller, error) {
			return inGroups(groups...).Caller, nil
		}, []string{"board"})
		defer watch.Close()
		if first, err := watch.Next(w.Context()); err != nil || first.Err != nil {
			t.Fatalf("the watch sends the error %v, and Next returns the error %v", first.Err, err)
		}
		w.useFor("group:main:admins", board("first")) // from now on, the caller is in no group
		if next, err := watch.Next(w.Context()); err != nil || fault.From(next.Err).Reason != fault.AccessDenied {
			t.Errorf("the watch sends %v (error: %v), want ACCESS_DENIED", next.Err, err)
		}
		groups = []string{"group:main:admins"}
		w.useFor("group:main:admins", board("first"))
		synctest.Wait()
		if last, err := watch.Next(w.Context()); err != nil || last.Err != nil {
			t.Errorf("the watch sends %v (error: %v), want a decoration", last.Err, err)
		}
	})
}
