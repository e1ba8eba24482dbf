package brokertest_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// harness is a running broker with helper methods for calls to it.
type harness struct {
	*testing.T
	*brokertest.Broker
}

func newHarness(t *testing.T, options ...brokertest.Option) harness {
	t.Helper()
	return harness{T: t, Broker: brokertest.New(t, options...)}
}

func (h harness) get(id string) *authmaterialv1.AuthDecoration {
	h.Helper()
	response, err := h.Client().GetAuthDecoration(h.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	if err != nil {
		h.Fatalf("GetAuthDecoration(%q): %v", id, err)
	}
	return response.GetAuthDecoration()
}

// getError asks for a decoration, and returns the error and the gRPC trailer.
func (h harness) getError(id string) (*status.Status, metadata.MD) {
	h.Helper()
	var trailer metadata.MD
	_, err := h.Client().GetAuthDecoration(h.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}, grpc.Trailer(&trailer))
	if err == nil {
		h.Fatalf("GetAuthDecoration(%q) succeeded, want an error", id)
	}
	return status.Convert(err), trailer
}

func (h harness) report(id, version string, httpStatus int32) (*authmaterialv1.ReportRejectionResponse, error) {
	return h.Client().ReportRejection(h.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: id, Version: version, HttpStatus: httpStatus,
	})
}

// wantDecoration compares two decorations. wantDecoration prints only the names of the fields that
// differ, because their values are secrets.
func (h harness) wantDecoration(got, want *authmaterialv1.AuthDecoration) {
	h.Helper()
	if proto.Equal(got, want) {
		return
	}
	a, b := got.ProtoReflect(), want.ProtoReflect()
	for i := range a.Descriptor().Fields().Len() {
		field := a.Descriptor().Fields().Get(i)
		if a.Has(field) != b.Has(field) || !sameField(a.Get(field), b.Get(field)) {
			h.Errorf("the decoration differs in %s", field.Name())
		}
	}
}

func sameField(a, b protoreflect.Value) bool { return a.Equal(b) }

// call sends a request with a decoration to a provider's API, and returns the HTTP status.
func (h harness) call(url string, decoration *authmaterialv1.AuthDecoration) int {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		h.Fatal(err)
	}
	if err := client.Apply(request, decoration); err != nil {
		h.Fatal(err)
	}
	response, err := h.HTTPClient().Do(request)
	if err != nil {
		h.Fatal("the provider's API cannot be reached")
	}
	defer response.Body.Close()
	return response.StatusCode
}

// wantError checks an error's code and reason, and for temporary errors RetryInfo and the retry
// push-back trailer.
func (h harness) wantError(got *status.Status, code codes.Code, reason string) {
	h.Helper()
	if got.Code() != code {
		h.Errorf("the status code is %v (%s), want %v", got.Code(), got.Message(), code)
	}
	info := detail[*errdetails.ErrorInfo](got)
	if info.GetDomain() != "authmaterial" || info.GetReason() != reason {
		h.Errorf("the ErrorInfo is %s/%s (%s), want authmaterial/%s", info.GetDomain(), info.GetReason(), got.Message(), reason)
	}
}

// detail returns the error's status detail of type T, or nil if there is none.
func detail[T any](s *status.Status) (found T) {
	for _, d := range s.Details() {
		if typed, ok := d.(T); ok {
			return typed
		}
	}
	return found
}

func (h harness) wantNoSecret(where, text string) {
	h.Helper()
	if i := slices.IndexFunc(h.Simulator.Secrets(), func(secret string) bool { return strings.Contains(text, secret) }); i >= 0 {
		h.Errorf("%s contains secret number %d of the simulator", where, i)
	}
}

func (h harness) getWithin(patience time.Duration, id string) error {
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	_, err := h.Client().GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	return err
}

// reportWithin reports, with a deadline, a version that the broker never issued.
func (h harness) reportWithin(patience time.Duration, id string) error {
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	_, err := h.Client().ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{CredentialId: id, Version: "v", HttpStatus: 401})
	return err
}

// untilAnswered makes a call again while it gets no answer before its deadline: on a slow machine, the
// time that the broker leaves for its answer can be too short.
func untilAnswered(call func() error) (err error) {
	for range 10 {
		if err = call(); status.Code(err) != codes.DeadlineExceeded {
			break
		}
	}
	return err
}

func (h harness) wantStatus(err error, code codes.Code, reason string) {
	h.Helper()
	h.wantError(status.Convert(err), code, reason)
}
