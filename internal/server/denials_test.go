package server_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
)

// A deniedWorld is a server with a low limit for denials. The two callers of a deniedWorld may use
// only the credential key-of-board.
type deniedWorld struct {
	world
	harness
	clock  *clockwork.FakeClock
	mailer context.Context //nolint:containedctx // the context belongs to a single test
	other  context.Context //nolint:containedctx // the context belongs to a single test
	client authmaterialv1.BrokerServiceClient
}

func newDeniedWorld(t *testing.T, limits string) deniedWorld {
	t.Helper()
	w := newWorld(t)
	other := authentication.GenerateToken()
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve("\nauthentication: {tokens: ["+staticToken("mailer", w.mailer)+", "+staticToken("other", other)+"]}\n"+
		"grants: [{callers: [\"*\"], credentials: [key-of-board]}]\naudit: {file: audit.log}\nlimits: {"+limits+"}\n",
		listenTCP(t), func(o *server.Options) { o.Clock = clock })
	return deniedWorld{
		w, h, clock, with(t.Context(), "Bearer "+w.mailer.Reveal()), with(t.Context(), "Bearer "+other.Reveal()),
		authmaterialv1.NewBrokerServiceClient(w.dialWith(h, plain())),
	}
}

func (d deniedWorld) ask(ctx context.Context, id string) (metadata.MD, error) {
	var trailer metadata.MD
	_, err := d.client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}, grpc.Trailer(&trailer))
	return trailer, err
}

func (d deniedWorld) report(id string) error {
	_, err := d.client.ReportRejection(d.mailer, &authmaterialv1.ReportRejectionRequest{CredentialId: id, Version: "v", HttpStatus: 401})
	return err
}

func (d deniedWorld) batch(ids ...string) (reasons []string) {
	d.harness.Helper()
	response, err := d.client.BatchGetAuthDecorations(d.mailer, &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		d.harness.Fatal(err)
	}
	for _, item := range response.GetResults() {
		reason := strings.TrimPrefix(item.GetError().GetReason().String(), "ERROR_REASON_")
		if reason == "RATE_LIMITED" && (item.GetError().GetCode() != int32(codes.ResourceExhausted) || item.GetError().GetRetryDelay().AsDuration() != time.Second) {
			d.harness.Errorf("the item's code is %d, and its retry delay %v", item.GetError().GetCode(), item.GetError().GetRetryDelay().AsDuration())
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

// `watch` starts a watch, and returns the error reason in the first message about each credential.
func (d deniedWorld) watch(ids ...string) (reasons []string) {
	d.harness.Helper()
	stream, err := d.client.WatchAuthDecorations(d.mailer, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		d.harness.Fatal(err)
	}
	for range ids {
		state, err := stream.Recv()
		if err != nil {
			d.harness.Fatal(err)
		}
		reasons = append(reasons, strings.TrimPrefix(state.GetError().GetReason().String(), "ERROR_REASON_"))
	}
	return reasons
}

// A record is one line of the audit log.
type record struct {
	Caller    string `json:"caller"`
	Method    string `json:"method"`
	Address   string `json:"address"`
	Operation string `json:"operation"`
	ID        string `json:"credential_id"`
	Outcome   string `json:"outcome"`
	LeftOut   int    `json:"left_out"`
}

func (d deniedWorld) audit() (found []record) {
	d.harness.Helper()
	text, err := os.ReadFile(filepath.Join(d.folder, "audit.log"))
	if err != nil {
		d.harness.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			d.harness.Fatalf("%q: %v", line, err)
		}
		found = append(found, r)
	}
	return found
}

func (d deniedWorld) wantRecords(want ...string) {
	d.harness.Helper()
	var got []string
	for _, r := range d.audit() {
		got = append(got, strings.Join([]string{strings.TrimPrefix(r.Caller, "token:"), r.Operation, r.ID, r.Outcome}, " "))
	}
	if !slices.Equal(got, want) {
		d.harness.Errorf("the records are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// After a caller has exceeded its limit of denials, existing and missing credentials are refused in
// the same way. The limit affects neither credentials that the caller may use nor other callers.
func TestDenialsOfACaller(t *testing.T) {
	d := newDeniedWorld(t, "denials_per_second: 1, denial_burst: 3")
	for _, id := range []string{"token-of-mail", "none", "NO ID"} {
		if _, err := d.ask(d.mailer, id); status.Code(err) == codes.ResourceExhausted || err == nil {
			t.Errorf("the error for %s is %v, want a denial", id, err)
		}
	}
	var first *status.Status
	for _, id := range []string{"token-of-mail", "none", "NO ID"} {
		trailer, err := d.ask(d.mailer, id)
		if wait := wantRateLimited(t, err, trailer); wait != time.Second {
			t.Errorf("the retry delay for %s is %v", id, wait)
		}
		got := status.Convert(err)
		if first == nil {
			first = got
		}
		if !proto.Equal(got.Proto(), first.Proto()) {
			t.Errorf("the error for %s differs from the error for an existing credential", id)
		}
		wantRateLimited(t, d.report(id), nil)
	}
	d.wantLimited("denials_per_second", 6)
	for _, line := range d.log.lines(t, "call") {
		if line["reason"] == "RATE_LIMITED" {
			t.Errorf("the log has %v, but only the metric and the audit log may report denials over the limit", line)
		}
	}
	if _, err := d.ask(d.mailer, "key-of-board"); err != nil {
		t.Errorf("a call for the granted credential fails: %v", err)
	}
	if _, err := d.ask(d.other, "none"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another caller: %v", err)
	}
	d.clock.Advance(time.Second)
	if _, err := d.ask(d.mailer, "none"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the error of a denied call, a second later, is %v", err)
	}
	d.wantRecords("mailer get token-of-mail ACCESS_DENIED", "mailer get none ACCESS_DENIED", "mailer get NO ID INVALID_REQUEST",
		"mailer get key-of-board OK", "other get none ACCESS_DENIED", "mailer get none ACCESS_DENIED")
}

// Each denied ID in a batch or watch counts as a denial.
func TestDenialsOfABatchAndAWatch(t *testing.T) {
	d := newDeniedWorld(t, "denials_per_second: 1, denial_burst: 3")
	got := d.batch("none", "key-of-board", "token-of-mail", "NO ID", "none", "token-of-mail", "NO ID", "key-of-board")
	if want := "ACCESS_DENIED UNSPECIFIED ACCESS_DENIED INVALID_REQUEST RATE_LIMITED RATE_LIMITED RATE_LIMITED UNSPECIFIED"; strings.Join(got, " ") != want {
		t.Errorf("the outcomes of the batch are %v, want %s", got, want)
	}
	d.wantLimited("denials_per_second", 3)
	// A watch sends denials even over the limit, and only the audit log omits them.
	got = d.watch("none", "key-of-board", "NO ID")
	if want := "ACCESS_DENIED UNSPECIFIED INVALID_REQUEST"; strings.Join(got, " ") != want {
		t.Errorf("the outcomes of the watch are %v, want %s", got, want)
	}
	d.wantLimited("denials_per_second", 5)
	d.wantRecords("mailer batch none ACCESS_DENIED", "mailer batch key-of-board OK", "mailer batch token-of-mail ACCESS_DENIED",
		"mailer batch NO ID INVALID_REQUEST", "mailer batch key-of-board OK", "mailer watch key-of-board OK")
}

// When a grant that a watch uses is removed, the audit file gets a record of the denial, even if
// the caller has reached its limit of denials.
func TestRevocationIsAlwaysRecorded(t *testing.T) {
	d := newDeniedWorld(t, "denials_per_second: 1, denial_burst: 1")
	stream, err := d.client.WatchAuthDecorations(d.mailer, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"key-of-board"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	d.batch("none", "none")
	if err := d.reload(d.harness, "\nauthentication: {tokens: ["+staticToken("mailer", d.world.mailer)+"]}\ngrants: []\naudit: {file: audit.log}\n"); err != nil {
		t.Fatal(err)
	}
	if state, err := stream.Recv(); err != nil || state.GetError().GetReason() != authmaterialv1.ErrorReason_ERROR_REASON_ACCESS_DENIED {
		t.Errorf("the watch reports %v (%v)", state.GetError().GetReason(), err)
	}
	d.wantRecords("mailer watch key-of-board OK", "mailer batch none ACCESS_DENIED", "mailer watch key-of-board ACCESS_DENIED")
}

// A summary in the audit file states how many denials of a caller have no record of their own.
// Summaries are written after a minute, and when the server stops.
func TestSuppressedDenialsAreRecorded(t *testing.T) {
	d := newDeniedWorld(t, "denials_per_second: 1, denial_burst: 1")
	d.batch(slices.Repeat([]string{"none"}, 8)...)
	for range 4 {
		_, _ = d.ask(d.other, "none")
	}
	wantTold := func(want map[string]int) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			got := map[string]int{}
			for _, r := range d.audit() {
				if r.Operation != "left_out" {
					continue
				}
				got[r.Caller] += r.LeftOut
				if r.Outcome != "RATE_LIMITED" || r.Method != "token" || r.Address == "" || r.LeftOut == 0 {
					t.Errorf("the record is %+v", r)
				}
			}
			if got["token:mailer"] == want["token:mailer"] && got["token:other"] == want["token:other"] && len(got) == len(want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the audit file has the summaries %v, want %v", got, want)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	d.clock.Advance(time.Minute)
	wantTold(map[string]int{"token:mailer": 7, "token:other": 3})
	d.batch("none", "none", "none")
	d.server.Stop(t.Context())
	wantTold(map[string]int{"token:mailer": 9, "token:other": 3})
}
