package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/credentials"
)

func (w *world) usage(id string) broker.Usage { return w.broker.Usage(w.Context(), id) }

// report reports that a caller has used a version of a credential.
func (w *world) report(caller, id string, versions ...string) {
	var uses []broker.VersionUse
	for _, version := range versions {
		uses = append(uses, broker.VersionUse{CredentialID: id, Version: version})
	}
	w.broker.ReportUsage(named(caller), uses)
}

// summary describes a usage: for each version, its number, `*` if the broker sends it, the number of
// callers that were sent it, the number of those that used it, and the callers.
func summary(u broker.Usage) string {
	var all []string
	for _, v := range u.Versions {
		mark := ""
		if v.Current {
			mark = "*"
		}
		var callers []string
		for _, c := range v.Callers {
			callers = append(callers, c.Caller)
		}
		all = append(all, fmt.Sprintf("%d%s sent %d used %d %s", v.Number, mark, v.CallersSent, v.CallersUsed, strings.Join(callers, ",")))
	}
	text := strings.Join(all, "; ")
	if u.SilentCount > 0 {
		text += fmt.Sprintf(" | silent %d %s", u.SilentCount, strings.Join(u.Silent, ","))
	}
	if u.Truncated {
		text += " | truncated"
	}
	return text
}

func (w *world) wantUsage(id, want string) {
	w.Helper()
	if got := summary(w.usage(id)); got != want {
		w.Errorf("the usage of %s is\n%s, want\n%s", id, got, want)
	}
}

func TestUsageOfVersions(t *testing.T) {
	inWorld(t, func(w *world) {
		one, two := key("one", 1, "a"), key("one", 2, "b")
		w.broker.Manage([]*credentials.Credential{one.Credential}, nil)
		w.wantUsage("one", "")
		began := time.Now().Truncate(time.Minute)
		w.call("get", "one", 3)
		w.broker.GetBatch(w.Context(), named("batch"), []string{"one", "one"})
		watch := w.broker.Watch(named("watch"), nil, []string{"one"})
		defer watch.Close()
		f := follower{w, watch}
		first := f.next(0).Decoration.Version
		if _, _, err := w.broker.ReportRejection(w.Context(), named("reject"), "one", first, 401); err != nil {
			t.Fatal(err)
		}
		w.wantUsage("one", "1* sent 4 used 0 batch,get,reject,watch | silent 4 batch,get,reject,watch")
		w.pass(2 * time.Minute)
		w.report("get", "one", first)
		w.wantUsage("one", "1* sent 4 used 1 get,batch,reject,watch | silent 3 batch,reject,watch")

		w.broker.Manage([]*credentials.Credential{two.Credential}, nil)
		second := f.next(0).Decoration.Version
		w.call("get", "one", 1)
		w.wantUsage("one", "2* sent 2 used 0 get,watch; 1 sent 4 used 1 get,batch,reject,watch | silent 3 watch,batch,reject")
		w.pass(time.Minute)
		w.report("get", "one", second)
		w.report("elsewhere", "one", first)
		w.wantUsage("one", "2* sent 2 used 1 get,watch; 1 sent 4 used 2 elsewhere,get,batch,reject,watch | silent 3 watch,batch,reject")
		v := w.usage("one").Versions[1]
		at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }
		if v.Version != first || !v.FirstSent.Equal(at(0)) || !v.LastSent.Equal(at(0)) || !v.FirstUse.Equal(at(2)) || !v.LastUse.Equal(at(3)) {
			t.Errorf("the earlier version was sent from %v to %v and used from %v to %v", v.FirstSent, v.LastSent, v.FirstUse, v.LastUse)
		}
		if c := v.Callers[1]; c.Caller != "get" || !c.LastSent.Equal(at(0)) || !c.LastUse.Equal(at(2)) {
			t.Errorf("the use of the earlier version by the caller get is %+v", c)
		}
		w.broker.Manage([]*credentials.Credential{two.withCanary(one, "none")}, nil)
		w.call("none", "one", 1)
		if u := w.usage("one"); !u.Versions[0].Current || !u.Versions[1].Current || u.Shared {
			t.Errorf("with a canary, the usage is %+v", u)
		}
	})
}

// TestMadeUpVersions checks that reports of versions that do not exist do not hide an earlier version.
func TestMadeUpVersions(t *testing.T) {
	inWorld(t, func(w *world) {
		one, two := key("one", 1, "a"), key("one", 2, "b")
		w.broker.Manage([]*credentials.Credential{one.Credential}, nil)
		w.call("web", "one", 1)
		earlier := w.usage("one").Versions[0].Version
		w.broker.Manage([]*credentials.Credential{two.Credential}, nil)
		w.call("web", "one", 1)
		w.pass(time.Minute)
		for i := range 11 {
			w.report(fmt.Sprintf("caller-%d", i), "one", fmt.Sprintf("made-up-%02d", i))
		}
		if u := w.usage("one"); len(u.Versions) != 11 || u.Versions[1].Version != earlier || !u.Truncated {
			t.Errorf("the usage is %s, want the earlier version second", summary(u))
		}
	})
}

// TestUsageOfTokens checks that the last token of an earlier secret is remembered, although later
// tokens are more recent.
func TestUsageOfTokens(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Manage([]*credentials.Credential{pair(1, w.first).Credential}, nil)
		replace := func() string {
			w.pass(time.Minute)
			d, err := w.broker.Get(w.Context(), named("web"), "one")
			if err == nil {
				d, _, err = w.broker.ReportRejection(w.Context(), named("web"), "one", d.Version, 401)
			}
			if err != nil {
				t.Fatal(err)
			}
			w.pass(10 * time.Minute)
			return d.Version
		}
		old := replace()
		w.broker.Manage([]*credentials.Credential{pair(2, w.rotated()).Credential}, nil)
		w.pass(time.Minute)
		var current string
		for range 7 {
			current = replace()
		}
		u := w.usage("one")
		if len(u.Versions) != 5 || u.Versions[0].Version != current || !u.Versions[0].Current || u.Versions[1].Current {
			t.Errorf("the usage is %s", summary(u))
		}
		if last := u.Versions[4]; last.Version != old || last.Number != 1 {
			t.Errorf("the last token of the earlier secret is missing: %s", summary(u))
		}
	})
}

// TestUsageOfReplacedToken replaces a token twice, first by a report to this broker, and then by a
// report to another broker with the same cache. All this happens in one minute.
func TestUsageOfReplacedToken(t *testing.T) {
	inWorld(t, func(w *world) {
		replace := func(b *broker.Broker, version string) string {
			d, _, err := b.ReportRejection(w.Context(), named("web"), "mail", version, 401)
			if err != nil {
				t.Fatal(err)
			}
			return d.Version
		}
		w.call("job", "mail", 1)
		second := replace(w.broker, w.usage("mail").Versions[0].Version)
		w.call("job", "mail", 1)
		sent := map[string]int{}
		for _, v := range w.usage("mail").Versions {
			sent[v.Version] = v.CallersSent
		}
		if len(sent) != 2 || sent[second] != 2 {
			t.Errorf("the versions were sent to %v callers", sent)
		}
		replace(w.newBroker(w.tokens), second)
		for _, v := range w.usage("mail").Versions {
			if v.Current {
				t.Errorf("the version %s counts as current", v.Version)
			}
		}
	})
}

func TestIgnoredUsage(t *testing.T) {
	var counted []bool
	inWorld(t, func(w *world) {
		policy := access.NewPolicy(access.Grant{
			Callers: []access.Pattern{"web"}, Credentials: []access.Pattern{"mail", "gone"}, Actions: []access.Action{access.Use},
		})
		if err := w.broker.Use(load(w.parse(mail(w.first), board("first")).Credentials, policy)); err != nil {
			t.Fatal(err)
		}
		current, err := w.broker.Get(w.Context(), named("web"), "mail")
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"board", "gone", "NO ID", "mail"} {
			w.report("web", id, "v", current.Version)
			w.report("job", id, "v")
		}
		w.wantUsage("board", "")
		w.wantUsage("gone", "")
		w.wantUsage("mail", "0* sent 1 used 1 web; 0 sent 0 used 1 web")
	}, func(o *broker.Options) {
		o.UsageReported = func(provider, method string, current bool) {
			if provider != "sendpulse" || method != "oauth2_client_credentials" {
				t.Errorf("the usage of %s, %s is counted", provider, method)
			}
			counted = append(counted, current)
		}
	})
	if !slices.Equal(counted, []bool{false, true}) {
		t.Errorf("the counted reports are %v", counted)
	}
}

// unwritable is an audit log that cannot be written.
type unwritable struct{ audit.Log }

func (unwritable) Write(context.Context, audit.Record) error { return errors.New("full") }

// TestNothingSent checks that a decoration that the caller does not get is not counted as sent.
func TestNothingSent(t *testing.T) {
	inWorld(t, func(w *world) {
		_, err := w.broker.Get(w.Context(), named("web"), "board")
		results := w.broker.GetBatch(w.Context(), named("web"), []string{"board"})
		if err == nil || results[0].Err == nil {
			t.Error("calls succeed without an audit record")
		}
		w.wantUsage("board", "")
		w.wantUses("board", broker.Use{Caller: "web", Minute: time.Now().Truncate(time.Minute), Count: 2})
	}, func(o *broker.Options) { o.Audit = unwritable{} })
}

func TestUsageIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 1150 {
			w.call(fmt.Sprintf("caller-%04d", i), "board", 1)
			if i == 500 {
				w.pass(time.Minute)
			}
		}
		u := w.usage("board")
		if !u.Truncated || u.Versions[0].CallersSent < 900 || u.Versions[0].CallersSent > 1000 || len(u.Versions[0].Callers) != 20 ||
			len(u.Silent) != 20 || u.SilentCount != u.Versions[0].CallersSent || u.Silent[0] != "caller-0501" {
			t.Errorf("the usage is %s", summary(u))
		}
		w.report("caller-0000", "board", "v") // forgotten before
		w.pass(time.Minute)
		for i := range 30 {
			w.report("caller-0600", "board", fmt.Sprintf("made-up-%02d", i))
			w.pass(time.Minute)
		}
		u = w.usage("board")
		var others []string
		for _, v := range u.Versions[1:] {
			others = append(others, v.Version)
		}
		if want := []string{"made-up-29", "made-up-28", "made-up-27", "made-up-26", "made-up-25", "v"}; !slices.Equal(others, want) {
			t.Errorf("the other versions are %q, want %q", others, want)
		}
		w.pass(7 * 24 * time.Hour)
		w.wantUsage("board", "")
		for i := range 11 {
			w.report(fmt.Sprintf("caller-%d", i), "board", fmt.Sprintf("made-up-%02d", i))
			w.pass(time.Minute)
		}
		if u = w.usage("board"); len(u.Versions) != 10 || u.Versions[9].Version != "made-up-01" || !u.Truncated {
			t.Errorf("the usage of many versions is %s", summary(u))
		}
	})
}

// TestUsageOfAllCredentialsIsBounded fills the memory for usage, which is free again after 7 days.
func TestUsageOfAllCredentialsIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		var all []string
		for i := range 100 {
			all = append(all, strings.Replace(board("first"), "board", fmt.Sprintf("board-%d", i), 1))
		}
		w.use(append(all, board("first"))...)
		for i := range 1000 {
			var uses []broker.VersionUse
			for j := range 100 {
				uses = append(uses, broker.VersionUse{CredentialID: fmt.Sprintf("board-%d", j), Version: "v"})
			}
			w.broker.ReportUsage(named(fmt.Sprintf("caller-%d", i)), uses)
		}
		w.report("web", "board", "v")
		w.wantUsage("board", " | truncated")
		w.report("caller-1", "board-1", "w")
		if u := w.usage("board-1"); len(u.Versions) != 2 {
			t.Errorf("a known caller is not noted: %s", summary(u))
		}
		w.pass(7*24*time.Hour + time.Minute)
		w.report("web", "board", "v")
		w.wantUsage("board", "0 sent 0 used 1 web")
	})
}

// sharedUsage is a store of usage in memory.
type sharedUsage struct {
	mu     sync.Mutex
	values map[string]json.RawMessage
	fails  bool
}

// set replaces the usage of the credential board.
func (s *sharedUsage) set(fails bool, board string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails = fails; board != "" {
		s.values["board"] = json.RawMessage(board)
	}
}

func (s *sharedUsage) Usage(_ context.Context, id string) ([]json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return nil, errors.New("away")
	}
	return []json.RawMessage{s.values[id], nil}, nil
}

func (s *sharedUsage) UpdateUsage(_ context.Context, ids []string, change func(string, []json.RawMessage) json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return errors.New("away")
	}
	for _, id := range ids {
		change(id, nil) // as if another replica made a change meanwhile
		s.values[id] = change(id, []json.RawMessage{s.values[id]})
	}
	return nil
}

func TestSharedUsage(t *testing.T) {
	shared := &sharedUsage{values: map[string]json.RawMessage{}}
	inWorld(t, func(w *world) {
		other := &world{T: t, sim: w.sim, log: w.log, first: w.first, tokens: w.tokens}
		other.broker = other.newBroker(w.tokens, func(o *broker.Options) { o.SharedUsage = shared })
		defer other.broker.Close()
		go w.broker.ShareUsage(w.Context())
		w.call("web", "board", 1)
		version := w.usage("board").Versions[0].Version
		other.report("job", "board", version)
		other.report("job", "mail", "of-mail")
		other.broker.SaveUsage(w.Context())
		if mail, board := string(shared.values["mail"]), string(shared.values["board"]); !strings.Contains(mail, "of-mail") || strings.Contains(board, "of-mail") {
			t.Errorf("the shared usage is %s and %s", mail, board)
		}
		w.wantUsage("board", "0* sent 1 used 1 job,web | silent 1 web")
		other.wantUsage("board", "0* sent 0 used 1 job")
		w.pass(time.Minute)
		other.wantUsage("board", "0* sent 1 used 1 job,web | silent 1 web")
		if !other.usage("board").Shared {
			t.Error("the usage at all replicas is not included")
		}

		shared.set(true, "")
		w.report("web", "board", version)
		w.pass(time.Minute)
		w.wantUsage("board", "0* sent 1 used 1 web")
		if w.usage("board").Shared {
			t.Error("the usage at all replicas is included, although it cannot be read")
		}
		shared.set(false, "")
		w.pass(time.Minute)
		other.wantUsage("board", "0* sent 1 used 2 web,job")

		w.call("web", "board", 1)
		shared.set(false, `["no usage"]`)
		w.pass(time.Minute)
		other.wantUsage("board", "0* sent 1 used 2 web,job")
	}, func(o *broker.Options) { o.SharedUsage = shared })
}

// TestSharedUsageOfWrongClocks checks that times in the future count as now.
func TestSharedUsageOfWrongClocks(t *testing.T) {
	shared := &sharedUsage{values: map[string]json.RawMessage{
		"board": json.RawMessage(`{"callers": {"web": [{"version": "v", "used": [-5, 99999999999]}, {"version": "w", "sent": [1, 2]}]}, "forgot": 99999999999}`),
	}}
	inWorld(t, func(w *world) {
		w.wantUsage("board", "0 sent 0 used 1 web | truncated")
		if v := w.usage("board").Versions[0]; !v.LastUse.Equal(time.Now().Truncate(time.Minute)) {
			t.Errorf("the last use is at %v", v.LastUse)
		}
	}, func(o *broker.Options) { o.SharedUsage = shared })
}

func TestSharedUsageIsBounded(t *testing.T) {
	shared := &sharedUsage{values: map[string]json.RawMessage{}}
	inWorld(t, func(w *world) {
		for i := range 1000 {
			w.call(fmt.Sprintf("%04d-%s", i, strings.Repeat("x", 2000)), "board", 1)
		}
		w.broker.SaveUsage(w.Context())
		if size := len(shared.values["board"]); size > 400<<10 || size < 200<<10 {
			t.Errorf("the shared usage has %d bytes", size)
		}
		if u := w.usage("board"); !u.Truncated {
			t.Error("the usage is not truncated")
		}
	}, func(o *broker.Options) { o.SharedUsage = shared })
}
