package broker_test

import (
	"net/http"
	"testing"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
)

func TestRecordOfAReport(t *testing.T) {
	inAuditedWorld(t, func(w *world, r *recorder) {
		w.restrict(grant("1", "mail", "board"))
		current, static := w.getAs(web).Version, w.staticVersion()
		r.take()
		for _, test := range []struct {
			name, id, version string
			status            int
			outcome, report   string
		}{
			{"of the current token", "mail", current, http.StatusUnauthorized, "OK", "REPLACED"},
			{"of the same again", "mail", current, http.StatusUnauthorized, "OK", "ALREADY_REPLACED"},
			{"of another status", "mail", current, http.StatusTeapot, "OK", "NOT_REPLACEABLE"},
			{"of a static key", "board", static, http.StatusUnauthorized, "OK", "NOT_REPLACEABLE"},
			{"by a denied caller", "other", current, http.StatusUnauthorized, "ACCESS_DENIED", ""},
		} {
			_, _, err := w.broker.ReportRejection(w.Context(), web, test.id, test.version, test.status)
			got := r.take()
			if len(got) != 1 || got[0].Operation != audit.Report || got[0].Report != test.report || got[0].Outcome != test.outcome {
				t.Errorf("a report %s ended with the error %v and the records %+v, want %s %s", test.name, err, got, test.outcome, test.report)
			}
		}
		// Reports beyond the limit of forced renewals fail, so their audit records contain no
		// report outcome.
		for range 10 {
			version := w.getAs(web).Version
			r.take()
			_, outcome, err := w.broker.ReportRejection(w.Context(), web, "mail", version, http.StatusUnauthorized)
			if err == nil {
				if outcome != broker.Replaced {
					t.Fatalf("the outcome of the report is %v, want Replaced", outcome)
				}
				continue
			}
			if got := r.take(); len(got) != 1 || got[0].Outcome != "RATE_LIMITED" || got[0].Report != "" || got[0].Grant != "1" {
				t.Errorf("after a report beyond the limit, the records are %+v", got)
			}
			return
		}
		t.Error("no report reaches the limit of forced renewals")
	})
}

func (w *world) staticVersion() string {
	w.Helper()
	decoration, err := w.broker.Get(w.Context(), web, "board")
	if err != nil {
		w.Fatal(err)
	}
	return decoration.Version
}
