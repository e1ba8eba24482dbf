package server_test

import (
	"testing"
	"testing/synctest"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/simulated"
)

const (
	board         = `auth_method="api_key",provider="pendo"`
	rejectionLine = "a caller reports that the provider rejects a static credential"
)

// `board` requests the credential key-of-board, which has a static strategy.
func (b *scene) board() *authmaterialv1.AuthDecoration {
	b.Helper()
	response, err := b.client.GetAuthDecoration(b.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"})
	if err != nil {
		b.Fatal(err)
	}
	return response.GetAuthDecoration()
}

func (b *scene) reportBoard(version string, status int32, want authmaterialv1.ReportRejectionResponse_Outcome) *authmaterialv1.AuthDecoration {
	b.Helper()
	response, err := b.client.ReportRejection(b.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "key-of-board", Version: version, HttpStatus: status,
	})
	if err != nil {
		b.Fatal(err)
	}
	if response.GetOutcome() != want {
		b.Errorf("the outcome is %v, want %v", response.GetOutcome(), want)
	}
	return response.GetAuthDecoration()
}

// setBoard loads a configuration with the given value of key-of-board, and the text `more`.
func (b *scene) setBoard(key string, more ...string) {
	b.Helper()
	err := b.server.Reload(func() (*config.Config, error) {
		return b.parse(func(name string) (string, bool) {
			if name == "PENDO_API_KEY" {
				return key, true
			}
			return simulated.Environment(b.sim)(name)
		}, more...), nil
	})
	if err != nil {
		b.Fatal(err)
	}
	synctest.Wait()
}

const (
	notReplaceable  = authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE
	alreadyReplaced = authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED
)

func TestRejectedStaticKeyIsVisible(t *testing.T) {
	inScene(t, func(b *scene) {
		b.wantMetrics(
			`authmaterial_static_reports_total{`+board+`,report="rejected"} 0`,
			`authmaterial_static_reports_total{`+board+`,report="other_status"} 0`,
			`authmaterial_static_reports_total{`+board+`,report="outdated"} 0`,
		)
		first := b.board()
		b.reportBoard(first.GetVersion(), 500, notReplaceable)
		if first.GetLastRejectionTime() != nil || b.board().GetLastRejectionTime() != nil {
			t.Error("a status that does not mean rejection is counted as a rejection")
		}
		for range 3 {
			b.pass(time.Minute)
			answer := b.reportBoard(first.GetVersion(), 403, notReplaceable)
			if at := answer.GetLastRejectionTime().AsTime(); !at.Equal(time.Now()) {
				t.Errorf("the answer to a report has the time %v, want %v", at, time.Now())
			}
		}
		reported := time.Now()
		b.pass(time.Hour)
		if at := b.board().GetLastRejectionTime().AsTime(); !at.Equal(reported) {
			t.Errorf("the time of the last report is %v, want %v", at, reported)
		}
		b.wantMetrics(
			`authmaterial_static_reports_total{`+board+`,report="rejected"} 3`,
			`authmaterial_static_reports_total{`+board+`,report="other_status"} 1`,
		)
		lines := b.log.lines(t, rejectionLine)
		if len(lines) != 1 {
			t.Fatalf("the log has %d lines about rejections, want one for the version", len(lines))
		}
		for key, want := range map[string]any{
			"level": "WARN", "credential_id": "key-of-board", "provider": "pendo", "auth_method": "api_key",
			"version": first.GetVersion(), "http_status": 403.0, "caller": "local",
		} {
			if lines[0][key] != want {
				t.Errorf("the log line has %s=%v, want %v", key, lines[0][key], want)
			}
		}
	})
}

func TestRejectionIsForgottenWithItsValue(t *testing.T) {
	inScene(t, func(b *scene) {
		first := b.board()
		b.reportBoard(first.GetVersion(), 403, notReplaceable)
		b.setBoard("key-after-the-first")
		if b.board().GetLastRejectionTime() != nil {
			t.Error("a changed value has the rejection time of the previous value")
		}
		b.reportBoard(first.GetVersion(), 403, alreadyReplaced)
		if b.board().GetLastRejectionTime() != nil {
			t.Error("a report about the previous value counts for the current value")
		}
		b.wantMetrics(
			`authmaterial_static_reports_total{`+board+`,report="rejected"} 1`,
			`authmaterial_static_reports_total{`+board+`,report="outdated"} 1`,
		)
		b.reportBoard(b.board().GetVersion(), 403, notReplaceable)
		b.setBoard("key-after-the-first", "    allowed_hosts: [more.example.test]\n")
		if now := b.board(); len(now.GetAllowedHosts()) < 2 || now.GetLastRejectionTime() == nil {
			t.Error("an unrelated change of the configuration removes the rejection time")
		}
		if lines := b.log.lines(t, rejectionLine); len(lines) != 2 {
			t.Errorf("the log has %d lines about rejections, want one for each version", len(lines))
		}
	})
}

// The metric for reports about static credentials must not count a rejected token.
func TestTokenReportsAreNotStaticReports(t *testing.T) {
	inScene(t, func(b *scene) {
		decoration, err := b.get()
		if err != nil {
			t.Fatal(err)
		}
		b.report(decoration)
		if decoration, err = b.get(); err != nil || decoration.GetLastRejectionTime() != nil {
			t.Errorf("after the report of a token, the decoration has a LastRejectionTime, or the call fails: %v", err)
		}
		b.wantNoMetric(`authmaterial_static_reports_total{` + mail + `,report="rejected"}`)
	})
}
