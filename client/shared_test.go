package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// recordingBroker records what calls contain. The first call of ReportUsage fails.
type recordingBroker struct {
	fixedBroker

	mu       sync.Mutex
	metadata metadata.MD
	watched  []string
	usage    []int // the number of uses in each call of ReportUsage
}

func (b *recordingBroker) GetAuthDecoration(ctx context.Context, request *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.metadata, _ = metadata.FromIncomingContext(ctx)
	if b.decorations[request.GetCredentialId()] == nil {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("authmaterial-error-reason", "CREDENTIAL_NOT_FOUND"))
		return nil, status.Error(codes.NotFound, "there is no such credential")
	}
	return b.fixedBroker.GetAuthDecoration(ctx, request)
}

func (b *recordingBroker) WatchAuthDecorations(request *authmaterialv1.WatchAuthDecorationsRequest, stream authmaterialv1.BrokerService_WatchAuthDecorationsServer) error {
	b.mu.Lock()
	b.watched = append(b.watched, request.GetCredentialIds()...)
	b.mu.Unlock()
	<-stream.Context().Done()
	return nil
}

func (b *recordingBroker) ReportUsage(_ context.Context, request *authmaterialv1.ReportUsageRequest) (*authmaterialv1.ReportUsageResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.usage = append(b.usage, len(request.GetUses()))
	if len(b.usage) == 1 {
		return nil, status.Error(codes.ResourceExhausted, "too many calls")
	}
	return new(authmaterialv1.ReportUsageResponse), nil
}

func newRecordingBroker(ids ...string) *recordingBroker {
	decorations := map[string]*authmaterialv1.AuthDecoration{}
	for _, id := range ids {
		decorations[id] = &authmaterialv1.AuthDecoration{
			CredentialId: id, Version: "v1", AllowedHosts: []string{"api.example.test"},
			Headers: []*authmaterialv1.Header{{Name: "X-Api-Key", Value: "canary"}},
		}
	}
	return &recordingBroker{fixedBroker: fixedBroker{decorations: decorations}}
}

// sendWith sends a request with the material of a credential to a provider that accepts it.
func sendWith(ctx context.Context, t *testing.T, amb *client.Client, credentialID string) error {
	t.Helper()
	transport := amb.Transport(credentialID, fixedAnswer{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}})
	response, err := transport.RoundTrip(newRequest(t, "https://api.example.test/").WithContext(ctx))
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// TestMetadataOfTheProgram sends a request whose context contains metadata for another gRPC service.
func TestMetadataOfTheProgram(t *testing.T) {
	broker := newRecordingBroker("key")
	amb := client.New(dialMemory(t, broker))
	defer amb.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer another-token", "x-tenant", "7")
	if err := sendWith(ctx, t, amb, "key"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"authorization", "x-tenant"} {
		if values := broker.metadata.Get(name); len(values) != 0 {
			t.Errorf("the broker received the program's metadata %s", name)
		}
	}
}

// TestUnusableID uses an ID that gRPC cannot send. The other credential is watched all the same.
func TestUnusableID(t *testing.T) {
	broker := newRecordingBroker("key")
	amb := client.New(dialMemory(t, broker))
	defer amb.Close()
	failed := (*client.Error)(nil)
	if err := sendWith(t.Context(), t, amb, "\xff"); !errors.As(err, &failed) {
		t.Errorf("the error is %v, want a client.Error", err)
	}
	if err := sendWith(t.Context(), t, amb, "key"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other credential is watched", func() bool {
		broker.mu.Lock()
		defer broker.mu.Unlock()
		return slices.Equal(broker.watched, []string{"key"})
	})
}

// TestErrorText checks that the broker's message follows the reason.
func TestErrorText(t *testing.T) {
	amb := client.New(dialMemory(t, newRecordingBroker()))
	defer amb.Close()
	err := sendWith(t.Context(), t, amb, "none")
	const want = `get the material of credential "none": CREDENTIAL_NOT_FOUND: there is no such credential`
	if err == nil || err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
}

// TestUsageThatCannotBeReported uses many versions before a call of ReportUsage fails. The client then
// reports only some of the uses again.
func TestUsageThatCannotBeReported(t *testing.T) {
	const kept = 1000
	ids := make([]string, kept+150)
	for i := range ids {
		ids[i] = fmt.Sprintf("key-%04d", i)
	}
	broker := newRecordingBroker(ids...)
	var mu sync.Mutex
	now := time.Now()
	amb := client.New(dialMemory(t, broker), client.WithClock(func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}))
	for _, id := range ids {
		if err := sendWith(t.Context(), t, amb, id); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if err := sendWith(t.Context(), t, amb, ids[0]); err != nil { // reports the uses
		t.Fatal(err)
	}
	calls := func() int {
		broker.mu.Lock()
		defer broker.mu.Unlock()
		return len(broker.usage)
	}
	eventually(t, "the uses are reported", func() bool { return calls() == 1 })
	amb.Close()
	repeated := 0
	for _, uses := range broker.usage[1:] {
		repeated += uses
	}
	if repeated != kept {
		t.Errorf("%d uses were reported after the failure, want %d", repeated, kept)
	}
}
