package broker_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

// status returns the status of a credential, which must have this state, with an explanation that
// contains the text.
func (w *world) status(id string, want broker.State, text string) broker.Status {
	w.Helper()
	status, ok := w.broker.Status(id)
	if !ok || status.State != want || !strings.Contains(status.Explanation, text) {
		w.Errorf("the state of %s is %s: %s; want %s: %s", id, status.State, status.Explanation, want, text)
	}
	if state, since := w.broker.State(id); state != status.State || !since.Equal(status.Since) {
		w.Errorf("State returns %s since %v, and Status returns %s since %v", state, since, status.State, status.Since)
	}
	if !strings.HasSuffix(status.Explanation, ".") {
		w.Errorf("the explanation %q does not end with a full stop", status.Explanation)
	}
	return status
}

func (w *world) wantTimes(what string, got, want time.Time) {
	w.Helper()
	if !got.Equal(want) {
		w.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestStatusOfATokenThroughItsLife(t *testing.T) {
	inWorld(t, func(w *world) {
		began := time.Now()
		status := w.status("mail", broker.NotYetUsed, "Nobody has used")
		w.wantTimes("Since", status.Since, time.Time{})
		if status.Active != (broker.MaterialStatus{}) {
			t.Errorf("before the first call, the material has the status %+v", status.Active)
		}

		w.pass(time.Minute)
		decoration := w.get("mail")
		status = w.status("mail", broker.Ready, "Callers get a token")
		w.wantTimes("Since", status.Since, began.Add(time.Minute))
		w.wantTimes("ObtainTime", status.Active.ObtainTime, began.Add(time.Minute))
		w.wantTimes("ExpireTime", status.Active.ExpireTime, decoration.ExpireTime)
		renewal := status.Active.RenewTime
		if last := status.Active.LastAttempt; last == nil || last.Status != http.StatusOK || last.Problem != "" {
			t.Errorf("the last attempt is %+v", last)
		}

		w.sim.SendPulse.RemoveClient(w.first.ID)
		w.pass(time.Until(renewal) + time.Millisecond)
		status = w.status("mail", broker.RenewalFailing, "SendPulse refused the credential (HTTP 401, invalid_client). Callers get the current token until it ends.")
		w.wantTimes("Since", status.Since, renewal)
		w.wantTimes("NextAttemptTime", status.Active.NextAttemptTime, renewal.Add(30*time.Second))
		if last := status.Active.LastAttempt; last.Status != http.StatusUnauthorized || last.OAuthError != "invalid_client" || !last.Time.Equal(renewal) || last.Problem == "" {
			t.Errorf("the last attempt is %+v", last)
		}
		w.wantTimes("ObtainTime", status.Active.ObtainTime, began.Add(time.Minute))
		if status.RequestsToday != 2 {
			t.Errorf("%d requests today, want 2", status.RequestsToday)
		}

		w.pass(time.Until(began.Add(time.Minute + time.Hour)))
		status = w.status("mail", broker.Refused, "Correct the values in the configuration file.")
		w.wantTimes("Since", status.Since, began.Add(time.Minute+time.Hour)) // the end of the token
		w.wantTimes("ObtainTime", status.Active.ObtainTime, time.Time{})
		if got, want := w.broker.States(), 1; got[broker.Refused] != want || got[broker.NotYetUsed] != want {
			t.Errorf("the numbers of credentials by state are %v", got)
		}

		w.use(mail(w.rotated()), board("first"))
		w.get("mail")
		w.status("mail", broker.Ready, "Callers get a token")
		if all := w.broker.TokenRequests()["sendpulse"]; all.Sent != int64(w.sim.SendPulse.TotalTokenRequests()) || all.Failed != all.Sent-2 {
			t.Errorf("%+v token requests are counted, and the provider received %d", all, w.sim.SendPulse.TotalTokenRequests())
		}
		w.pass(24 * time.Hour)
		w.status("mail", broker.Ready, "has expired")
		if status, _ := w.broker.Status("mail"); status.RequestsToday != 0 {
			t.Errorf("%d requests today, want none", status.RequestsToday)
		}
	})
}

func TestStatusWhileTheProviderIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sim.SendPulse.FailTokenRequests(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
				answer.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(answer, `{"error": "temporarily_unavailable"}`)
			})
		})
		began := time.Now()
		_, _ = w.broker.Get(w.Context(), nobody, "mail")
		status := w.status("mail", broker.Unavailable, "Callers get an error. The broker repeats the token request by itself.")
		w.wantTimes("Since", status.Since, began)
		if last := status.Active.LastAttempt; last.OAuthError != "temporarily_unavailable" || last.Status != http.StatusServiceUnavailable {
			t.Errorf("the last attempt is %+v", last)
		}
		w.pass(time.Minute)
		_, _ = w.broker.Get(w.Context(), nobody, "mail")
		w.wantTimes("after another failure, Since", w.status("mail", broker.Unavailable, "").Since, began)
		w.sim.SendPulse.RestoreTokenRequests()
		w.pass(time.Minute)
		w.get("mail")
		w.wantTimes("Since", w.status("mail", broker.Ready, "").Since, time.Now())
	})
}

func TestStatusOfStaticMaterial(t *testing.T) {
	inWorld(t, func(w *world) {
		w.status("board", broker.NotYetUsed, "Nobody has used")
		began := time.Now()
		version := w.get("board").Version
		w.pass(time.Hour)
		w.get("board")
		w.wantTimes("Since", w.status("board", broker.Ready, "none has reported").Since, began)
		report := func() {
			if _, _, err := w.broker.ReportRejection(w.Context(), nobody, "board", version, http.StatusForbidden); err != nil {
				t.Fatal(err)
			}
		}
		report()
		w.pass(time.Hour)
		report()
		status := w.status("board", broker.Refused, "rejects the material")
		w.wantTimes("Since", status.Since, began.Add(time.Hour))
		w.wantTimes("LastReportTime", status.Active.LastReportTime, began.Add(2*time.Hour))
		if status.Active.Reports != 2 {
			t.Errorf("%d reports, want 2", status.Active.Reports)
		}
		w.broker.Accepted("board", 1, time.Now())                   // another version
		w.broker.Accepted("board", 0, time.Now().Add(-time.Second)) // before the last report
		w.status("board", broker.Refused, "rejects the material")
		w.broker.Accepted("board", 0, time.Now())
		w.status("board", broker.Ready, "none has reported")
		if d := w.get("board"); !d.LastRejectionTime.IsZero() {
			t.Errorf("after the provider accepted it, the decoration has the last rejection time %v", d.LastRejectionTime)
		}
		report()
		w.status("board", broker.Refused, "rejects the material")
		w.use(mail(w.first), board("second"))
		w.get("board")
		if status := w.status("board", broker.Ready, ""); status.Active.Reports != 0 {
			t.Errorf("the new material has %d reports", status.Active.Reports)
		}
	})
}

func TestStatusOfManagedVersions(t *testing.T) {
	inWorld(t, func(w *world) {
		good, bad := pair(1, w.first), pair(2, w.refused())
		disabled := *key("off", 1, "x").Credential
		disabled.Disabled = true
		broken := key("broken", 1, "x")
		broken.Stored.Open = func() (map[string]secret.Text, error) { return nil, errors.New("unknown key") }
		w.broker.Manage([]*credentials.Credential{good.withCanary(bad, "try*"), &disabled, broken.Credential}, nil)
		w.status("one", broker.NotYetUsed, "Nobody has used")
		w.status("off", broker.Disabled, "somebody enables it")
		w.status("broken", broker.NotYetUsed, "")
		w.reason("broken")
		w.wantTimes("Since", w.status("broken", broker.Unavailable, "cannot be decrypted").Since, time.Now())
		lost := key("lost", 1, "x")
		w.broker.Manage([]*credentials.Credential{lost.Credential}, nil)
		w.material(nobody, "lost")
		undefined, stored := *lost.Credential, *lost.Stored
		stored.Problem, stored.Open = "The provider is not defined.", broken.Stored.Open
		undefined.Stored = &stored
		w.broker.Manage([]*credentials.Credential{&undefined}, nil)
		w.status("lost", broker.Unavailable, "The provider is not defined. Callers get an error.")
		if got := w.reason("lost"); got != fault.Internal {
			t.Errorf("without a definition, callers get the error %s", got)
		}
		if _, ok := w.broker.Status("none"); ok {
			t.Error("a credential that does not exist has a status")
		}

		_, _ = w.broker.Get(w.Context(), named("try-1"), "one")
		d, err := w.broker.Get(w.Context(), nobody, "one")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.broker.ReportRejection(w.Context(), nobody, "one", d.Version, http.StatusUnauthorized); err != nil {
			t.Fatal(err)
		}
		status := w.status("one", broker.Ready, "Canary: SendPulse refused the credential (HTTP 401, invalid_client). Callers get an error. Add a version")
		if status.Active.Version != 1 || status.Active.Reports != 1 || status.Canary.Version != 2 || status.Canary.Reports != 0 {
			t.Errorf("the status is %+v, with the canary %+v", status, status.Canary)
		}
		if last := status.Canary.LastAttempt; last == nil || last.Status != http.StatusUnauthorized {
			t.Errorf("the last token request of the canary is %+v, want HTTP 401", last)
		}

		current := w.material(nobody, "one")
		w.broker.Manage([]*credentials.Credential{bad.Credential}, nil)
		synctest.Wait()
		if got := w.material(nobody, "one"); got != current {
			t.Fatal("the token of the previous version is not served")
		}
		status = w.status("one", broker.RenewalFailing, "Callers get the token of the previous values until it ends. Add a version")
		if status.Active.ExpireTime.IsZero() || status.Canary != nil {
			t.Errorf("the status is %+v, with the canary %+v", status, status.Canary)
		}
		if found := w.sim.Secrets(); slices.ContainsFunc(found, func(s string) bool { return strings.Contains(status.Explanation, s) }) {
			t.Error("the explanation contains a secret")
		}
	})
}
