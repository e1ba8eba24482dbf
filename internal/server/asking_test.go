package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
)

type outcome struct {
	code    codes.Code
	reason  string
	message string
	whole   bool   // whether the whole call failed, not only one of its items
	bytes   string // bytes of the call on the wire, with headers and trailers
}

// These are the expected outcomes of requests by authenticated callers.
var (
	allowed  = outcome{code: codes.OK}
	notFound = outcome{code: codes.NotFound, reason: "CREDENTIAL_NOT_FOUND", message: `there is no credential "` + missing + `", or it is disabled`}
	denied   = outcome{code: codes.PermissionDenied, reason: "ACCESS_DENIED", message: "the caller has no grant for this credential ID"}
)

const badAlgorithm = "the bearer token is signed with an algorithm that is not accepted"

// `of` returns the expected outcome of a method.
func (o outcome) of(m method) outcome {
	o.whole = o.whole || o.code != codes.OK && !m.items
	return o
}

// `is` reports whether two outcomes are equal, apart from their bytes. The messages of outcomes
// with the code Unavailable are not compared either, because the gRPC client writes these messages.
func (o outcome) is(want outcome) bool {
	if o.bytes = ""; want.code == codes.Unavailable {
		o.message = ""
	}
	return o == want
}

func (o outcome) String() string {
	return fmt.Sprintf("%v %s %q (of the whole call: %t)", o.code, o.reason, o.message, o.whole)
}

func outcomeOf(err error, around ...metadata.MD) outcome {
	if err == nil {
		return outcome{}
	}
	got := status.Convert(err)
	o := outcome{code: got.Code(), message: got.Message(), whole: true, bytes: encode(got.Proto()) + fmt.Sprint(around)}
	for _, detail := range got.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			o.reason = info.GetReason()
		}
	}
	if trailer := metadata.Join(around...).Get("authmaterial-error-reason"); o.reason != "" && !slices.Equal(trailer, []string{o.reason}) {
		o.reason += fmt.Sprintf(" (in the trailer: %q)", trailer)
	}
	return o
}

func outcomeOfItem(item *authmaterialv1.AuthDecorationError, around ...metadata.MD) outcome {
	if item == nil {
		return outcome{}
	}
	reason := item.GetReason().String()[len("ERROR_REASON_"):]
	return outcome{code: codes.Code(item.GetCode()), reason: reason, message: item.GetMessage(), bytes: encode(item) + fmt.Sprint(around)}
}

func encode(message proto.Message) string {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	return fmt.Sprintf("%x %v", data, err)
}

// An asker is a client that sends the same header `authorization` in each of its calls.
type asker struct {
	connection    *grpc.ClientConn
	authorization string
}

func (a asker) client() authmaterialv1.BrokerServiceClient {
	return authmaterialv1.NewBrokerServiceClient(a.connection)
}

func (a asker) in(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	if a.authorization == "" {
		return ctx
	}
	return with(ctx, a.authorization)
}

func (a asker) watch(t *testing.T, ids ...string) authmaterialv1.BrokerService_WatchAuthDecorationsClient {
	t.Helper()
	stream, err := a.client().WatchAuthDecorations(a.in(t), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// A method is one kind of call that names a credential.
type method struct {
	action access.Action // the action for which the call needs a grant
	items  bool          // whether each item of the answer contains the error of its own credential
	ask    func(t *testing.T, a asker, id string) outcome
}

// methods are the methods of the broker's services that name a credential.
var methods = map[string]method{
	"get": {access.Use, false, func(t *testing.T, a asker, id string) outcome {
		var header, trailer metadata.MD
		_, err := a.client().GetAuthDecoration(a.in(t), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}, grpc.Header(&header), grpc.Trailer(&trailer))
		return outcomeOf(err, header, trailer)
	}},
	"batch": {access.Use, true, func(t *testing.T, a asker, id string) outcome {
		var header, trailer metadata.MD
		response, err := a.client().BatchGetAuthDecorations(a.in(t), &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: []string{id}}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			return outcomeOf(err, header, trailer)
		}
		return outcomeOfItem(response.GetResults()[0].GetError(), header, trailer)
	}},
	"watch": {access.Use, true, func(t *testing.T, a asker, id string) outcome {
		stream, err := a.client().WatchAuthDecorations(a.in(t), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{id}})
		if err != nil { // the connection failed
			return outcomeOf(err)
		}
		state, err := stream.Recv()
		if err != nil {
			return outcomeOf(err, stream.Trailer())
		}
		return outcomeOfItem(state.GetError())
	}},
	"report": {access.Use, false, func(t *testing.T, a asker, id string) outcome {
		var header, trailer metadata.MD
		_, err := a.client().ReportRejection(a.in(t), &authmaterialv1.ReportRejectionRequest{CredentialId: id, Version: "v", HttpStatus: http.StatusUnauthorized}, grpc.Header(&header), grpc.Trailer(&trailer))
		return outcomeOf(err, header, trailer)
	}},
}

func (w world) socket() net.Listener {
	w.Helper()
	return listen(w.T, unix(filepath.Join(socketFolder(w.T), "grpc")), 0o666)
}
