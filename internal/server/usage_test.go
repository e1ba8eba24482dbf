package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// version returns the version of the decoration that a caller gets.
func (m managing) version(caller, id string) string {
	m.Helper()
	answer, err := m.client().GetAuthDecoration(m.as(caller), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	if err != nil {
		m.Fatalf("%s gets no material of %s: %v", caller, id, err)
	}
	return answer.GetAuthDecoration().GetVersion()
}

func (m managing) reportUse(caller, id, version string) {
	m.Helper()
	uses := []*authmaterialv1.VersionUse{{CredentialId: id, Version: version}}
	if _, err := m.client().ReportUsage(m.as(caller), &authmaterialv1.ReportUsageRequest{Uses: uses}); err != nil {
		m.Errorf("%s cannot report the use of %s: %v", caller, id, err)
	}
}

// inUse describes the versions in use of a credential: for each version, its number, `*` if it is
// current, the number of callers that were sent it and that used it, and the callers.
func (m managing) inUse(id string) string {
	m.Helper()
	answer, err := m.credentials.GetCredentialStatus(m.as("viewer"), &authmaterialv1.GetCredentialStatusRequest{CredentialId: id})
	if err != nil {
		m.Fatal(err)
	}
	all := answer.GetStatus().GetVersionsInUse()
	var texts []string
	for _, v := range all.GetVersions() {
		text := fmt.Sprint(v.GetCredentialVersion())
		if v.GetCurrent() {
			text += "*"
		}
		text += fmt.Sprintf(" sent to %d, used by %d:", v.GetCallersSent(), v.GetCallersUsed())
		for _, c := range v.GetCallers() {
			text += " " + strings.TrimPrefix(c.GetCaller(), "token:")
		}
		if (v.GetCallersSent() > 0) != (v.GetLastSentTime() != nil) || (v.GetCallersUsed() > 0) != (v.GetFirstUseTime() != nil) {
			m.Errorf("the times of the version %s are wrong", v.GetVersion())
		}
		texts = append(texts, text)
	}
	return fmt.Sprintf("%s; without reports %d %s; of the fleet: %t", strings.Join(texts, "; "),
		all.GetTotalWithoutReports(), all.GetCallersWithoutReports(), all.GetWholeFleet())
}

func (m managing) awaitInUse(id, want string) {
	m.Helper()
	got, deadline := "", time.After(20*time.Second)
	for got = m.inUse(id); got != want; got = m.inUse(id) {
		select {
		case <-deadline:
			m.Fatalf("the versions in use of %s are\n%s, want\n%s", id, got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestVersionsInUse rotates a credential of two replicas, and follows which callers still use its
// earlier version.
func TestVersionsInUse(t *testing.T) {
	redis, postgres := redistest.Start(t), postgrestest.Start(t)
	clock := clockwork.NewFakeClockAt(time.Now())
	store := "  url: " + postgres.Database(t) + "\n  user: {env: POSTGRES_USER}\n  password: {env: POSTGRES_PASSWORD}\n"
	text := grantingText([]string{"admin", "viewer", "web", "web-canary"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [use, manage]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web*"], credentials: ["*"]}
`, store)
	sharing, key := withRedis(t, redis), fleetkeys.Generate()
	withClock := func(o *server.Options) { o.Clock = clock }
	one := serveStored(t, text, key, sharing, withClock)
	other := serveStored(t, text, key, sharing, withClock)
	pendo := accounts(one.sim)["pendo"]
	created := one.createAccount("mail", pendo)
	one.awaitInUse("mail", "; without reports 0 []; of the fleet: true")
	old := one.version("web", "mail")
	other.eventually("the other replica serves the credential", func() bool { _, err := other.material("admin", "mail"); return err == nil })
	other.reportUse("web", "mail", old)
	one.awaitInUse("mail", "1* sent to 1, used by 0: web; without reports 1 [token:web]; of the fleet: true")
	other.awaitInUse("mail", "1* sent to 1, used by 1: web admin; without reports 1 [token:admin]; of the fleet: true")
	clock.Advance(time.Minute)
	const both = "1* sent to 2, used by 1: web admin; without reports 1 [token:admin]; of the fleet: true"
	one.awaitInUse("mail", both)
	other.awaitInUse("mail", both)

	one.rotate(created, pendo.next, false)
	fresh := one.version("web", "mail")
	if fresh == old {
		t.Fatal("the version has not changed")
	}
	one.reportUse("web", "mail", fresh)
	one.awaitInUse("mail", "2* sent to 1, used by 1: web; 1 sent to 2, used by 1: web admin; without reports 1 [token:admin]; of the fleet: true")
	one.server.Stop(t.Context()) // a replica that stops saves what it knows
	other.eventually("the other replica serves the new version", func() bool { return other.version("admin", "mail") == fresh })
	other.awaitInUse("mail", "2* sent to 2, used by 1: web admin; 1 sent to 2, used by 1: web admin; without reports 1 [token:admin]; of the fleet: true")
	other.reportUse("web-canary", "mail", old)
	redis.Kill()
	other.awaitInUse("mail", "2* sent to 1, used by 0: admin; 1 sent to 1, used by 2: web-canary web admin; without reports 1 [token:admin]; of the fleet: false")
	if _, _, metrics := other.fetch("/metrics"); !strings.Contains(metrics, `authmaterial_usage_reports_total{auth_method="api_key",provider="pendo",version="current"} 1`) ||
		!strings.Contains(metrics, `authmaterial_usage_reports_total{auth_method="api_key",provider="pendo",version="other"} 1`) {
		t.Error("the reports are not counted")
	}
}

func TestVersionsInUseWithoutRedis(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	m.reportUse("web", there, m.version("web", there))
	m.awaitInUse(there, "0* sent to 1, used by 1: web; without reports 0 []; of the fleet: false")
	m.reportUse("viewer", there, "v") // may not use the credential
	m.reportUse("web", missing, "v")
	m.awaitInUse(there, "0* sent to 1, used by 1: web; without reports 0 []; of the fleet: false")
}

func TestReportUsageIsChecked(t *testing.T) {
	m := serveManaging(t, sqliteStore(t))
	use := func(id, version string) *authmaterialv1.VersionUse {
		return &authmaterialv1.VersionUse{CredentialId: id, Version: version}
	}
	many := func(n int, id, version string) []*authmaterialv1.VersionUse {
		return slices.Repeat([]*authmaterialv1.VersionUse{use(id, version)}, n)
	}
	long := strings.Repeat("x", 129)
	for name, test := range map[string]struct {
		uses   []*authmaterialv1.VersionUse
		fields []string
	}{
		"none":         {nil, []string{"uses"}},
		"101 uses":     {many(101, there, "v"), []string{"uses"}},
		"100 uses":     {many(100, there, "v"), nil},
		"longest":      {many(1, long[1:], long[:64]), nil},
		"no values":    {many(1, "", ""), []string{"uses[0].credential_id", "uses[0].version"}},
		"too long":     {append(many(1, there, "v"), use(long, long[:65])), []string{"uses[1].credential_id", "uses[1].version"}},
		"a space":      {many(1, there, "v v"), []string{"uses[0].version"}},
		"not ASCII":    {many(1, there, "é"), []string{"uses[0].version"}},
		"100 problems": {many(100, there, ""), []string{"uses[0].version", "uses[19].version"}},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD
			_, err := m.client().ReportUsage(m.as("web"), &authmaterialv1.ReportUsageRequest{Uses: test.uses}, grpc.Trailer(&trailer))
			var fields []string
			for _, detail := range status.Convert(err).Details() {
				if bad, ok := detail.(*errdetails.BadRequest); ok {
					for _, violation := range bad.GetFieldViolations() {
						fields = append(fields, violation.GetField())
					}
				}
			}
			if name == "100 problems" && len(fields) == 20 {
				fields = []string{fields[0], fields[19]}
			}
			code, reason := codes.OK, []string(nil)
			if test.fields != nil {
				code, reason = codes.InvalidArgument, []string{"INVALID_REQUEST"}
			}
			if len(status.Convert(err).Message()) > 4<<10 {
				t.Errorf("the message has %d bytes", len(status.Convert(err).Message()))
			}
			if status.Code(err) != code || !slices.Equal(fields, test.fields) || !slices.Equal(trailer.Get("authmaterial-error-reason"), reason) {
				t.Errorf("the call ends with %v, and names the fields %q, want %q", err, fields, test.fields)
			}
		})
	}
	if _, err := m.client().ReportUsage(t.Context(), &authmaterialv1.ReportUsageRequest{Uses: many(1, there, "v")}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a caller, the call ends with %v", err)
	}
}
