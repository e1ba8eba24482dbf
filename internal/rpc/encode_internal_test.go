package rpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
)

func decorationOfSize(size int) *broker.Decoration {
	return &broker.Decoration{
		CredentialID: "mail", Version: "v1", AllowedHosts: []string{"api.example.test"}, RejectedStatuses: []int{401, 403},
		Material:   strategies.Material{Headers: []strategies.Pair{{Name: "x-key", Value: secret.New(strings.Repeat("k", size))}}},
		ExpireTime: time.Unix(2_000_000_000, 5), RefreshTime: time.Unix(1_999_999_000, 0),
	}
}

// TestEncodedAnswers decodes, with the generated code, the answers that this package encodes by
// hand.
func TestEncodedAnswers(t *testing.T) {
	for _, size := range []int{0, 1, 200, 5000} {
		decoration := decorationOfSize(size)
		decoration.Encoded = Encode(decoration)
		want := toProto(decoration)
		denial := &authmaterialv1.AuthDecorationError{Code: 5, Reason: authmaterialv1.ErrorReason_ERROR_REASON_CREDENTIAL_NOT_FOUND, Message: "none"}
		refused, err := proto.Marshal(denial)
		if err != nil {
			t.Fatal(err)
		}
		good, bad := item{"mail", itemDecoration, decorationOf(decoration.Encoded)}, item{"é", itemError, refused}
		if batch := []item{good, bad, good}; sizeOfBatch(batch) != len(appendBatch(nil, batch)) {
			t.Errorf("sizeOfBatch returns %d, but the encoded batch has %d bytes", sizeOfBatch(batch), len(appendBatch(nil, batch)))
		}
		for _, test := range []struct {
			encoded []byte
			into    proto.Message
			want    proto.Message
		}{
			{decoration.Encoded, new(authmaterialv1.GetAuthDecorationResponse), &authmaterialv1.GetAuthDecorationResponse{AuthDecoration: want}},
			{appendBatch(nil, []item{good, bad, good}), new(authmaterialv1.BatchGetAuthDecorationsResponse), &authmaterialv1.BatchGetAuthDecorationsResponse{
				Results: []*authmaterialv1.AuthDecorationResult{
					{CredentialId: "mail", Result: &authmaterialv1.AuthDecorationResult_AuthDecoration{AuthDecoration: want}},
					{CredentialId: "é", Result: &authmaterialv1.AuthDecorationResult_Error{Error: denial}},
					{CredentialId: "mail", Result: &authmaterialv1.AuthDecorationResult_AuthDecoration{AuthDecoration: want}},
				},
			}},
			{good.append(nil), new(authmaterialv1.WatchAuthDecorationsResponse), &authmaterialv1.WatchAuthDecorationsResponse{
				CredentialId: "mail", State: &authmaterialv1.WatchAuthDecorationsResponse_AuthDecoration{AuthDecoration: want},
			}},
			{bad.append(nil), new(authmaterialv1.WatchAuthDecorationsResponse), &authmaterialv1.WatchAuthDecorationsResponse{
				CredentialId: "é", State: &authmaterialv1.WatchAuthDecorationsResponse_Error{Error: denial},
			}},
		} {
			if err := proto.Unmarshal(test.encoded, test.into); err != nil || !proto.Equal(test.into, test.want) {
				t.Errorf("the answer with a key of %d bytes is decoded as another message: %v", size, err)
			}
		}
		if len(good.append(nil)) != good.size() || len(bad.append(nil)) != bad.size() {
			t.Error("size does not return the size of the encoded item")
		}
	}
}

// TestBatchIsSentOnce frees answers in the way gRPC does after sending, and checks that each
// batch counts as sent once.
func TestBatchIsSentOnce(t *testing.T) {
	of := NewCodec()
	for _, size := range []int{0, 10, 100_000, 1_000_000} {
		sent := 0
		batch := []item{{"mail", itemDecoration, make([]byte, size)}}
		encoded, err := of.Marshal(newBatchAnswer(batch, func() { sent++ }))
		if err != nil || encoded.Len() != sizeOfBatch(batch) {
			t.Fatalf("the item of %d bytes makes a batch of %d bytes (error: %v)", size, encoded.Len(), err)
		}
		encoded.Ref()
		encoded.Free()
		if sent != 0 {
			t.Errorf("a batch with %d bytes counts as sent while its buffer is in use", size)
		}
		encoded.Free()
		if sent != 1 {
			t.Errorf("a batch with %d bytes counts as sent %d times, want once", size, sent)
		}
	}
	message := timestamppb.New(time.Unix(5, 0))
	encoded, err := of.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	want, err := encoding.GetCodecV2("proto").Marshal(message)
	if err != nil || string(encoded.Materialize()) != string(want.Materialize()) {
		t.Errorf("an ordinary message is encoded differently from gRPC's own codec: %v", err)
	}
}

// registrar stores the descriptions of the registered services.
type registrar []*grpc.ServiceDesc

func (r *registrar) RegisterService(description *grpc.ServiceDesc, _ any) {
	*r = append(*r, description)
}

// TestEveryMethodIsRegistered compares the registered methods with those in the proto files.
func TestEveryMethodIsRegistered(t *testing.T) {
	s := &Service{options: Options{Metrics: func(string, bool) *MethodMetrics { return nil }}}
	var got registrar
	s.Register(&got)
	for i, want := range []grpc.ServiceDesc{
		authmaterialv1.BrokerService_ServiceDesc, authmaterialv1.CredentialService_ServiceDesc, authmaterialv1.ProviderService_ServiceDesc,
	} {
		if registered, wanted := namesOf(got[i]), namesOf(&want); !slices.Equal(registered, wanted) {
			t.Errorf("the service %s has the methods %q, want %q", got[i].ServiceName, registered, wanted)
		}
	}
}

// namesOf returns the sorted names of a service's methods, with the kind of each stream.
func namesOf(service *grpc.ServiceDesc) []string {
	var names []string
	for _, method := range service.Methods {
		names = append(names, method.MethodName)
	}
	for _, stream := range service.Streams {
		names = append(names, fmt.Sprint(stream.StreamName, stream.ServerStreams, stream.ClientStreams))
	}
	slices.Sort(names)
	return names
}
