package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/admission"
)

// maxManagementBytes is the maximum size of a request of CredentialService and ProviderService, over
// gRPC and over HTTP. The comments in the proto files state the same limit.
const maxManagementBytes = 1 << 20

// managing returns the description of a gRPC method that answers calls with the function `respond`.
// The caller is identified before the request is received, because a request can be large.
func managing[Request, Response any](
	s *Service, name string, respond func(context.Context, *Request) (*Response, error),
) grpc.MethodDesc {
	m := s.newMethod(name, false)
	handle := func(
		_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor,
	) (response any, err error) {
		c := s.begin(ctx, m)
		defer func() { err = c.end(err, recover()) }()
		if err := c.checkHeaders(); err != nil {
			return nil, err
		}
		caller, err := c.identify(1)
		if err != nil {
			return nil, err
		}
		request := new(Request)
		if err := c.receiveLarge(any(request).(proto.Message)); err != nil {
			return nil, err
		}
		return answerTo(respond(WithCaller(ctx, caller), request))
	}
	return grpc.MethodDesc{MethodName: path.Base(name), Handler: handle}
}

// messageReader is the part of gRPC's stream that reads messages. It is not part of gRPC's public API:
// docs/adr/0026-large-requests.md explains why the broker uses it.
type messageReader interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

var (
	errNoReader   = errors.New("rpc: gRPC's stream has no methods to read messages")
	errCompressed = status.Error(codes.Unimplemented, "requests of this service must not be compressed")
	errIncomplete = status.Error(codes.InvalidArgument, "the request message is incomplete")
)

// receiveLarge receives a request of up to maxManagementBytes.
func (c *call) receiveLarge(request proto.Message) error {
	reader, ok := grpc.ServerTransportStreamFromContext(c.ctx).(messageReader)
	if !ok {
		return errNoReader
	}
	size, err := c.sizeOf(reader)
	if err != nil {
		c.excess = true
		return err
	}
	if size > c.service.options.MessageBytes {
		if !c.limits.BeginLarge() {
			return c.refuse(&admission.Refusal{Limit: admission.LargePerCaller})
		}
		defer c.limits.EndLarge()
	}
	received, err := reader.Read(size)
	if err != nil {
		c.excess = true
		return readError(err)
	}
	defer received.Free()
	if err := proto.Unmarshal(received.Materialize(), request); err != nil {
		c.excess = true
		return status.Errorf(codes.InvalidArgument, "the request is not a %s", request.ProtoReflect().Descriptor().FullName())
	}
	c.received(request)
	return nil
}

// sizeOf reads the header of the request message, and returns the size of the message.
func (c *call) sizeOf(reader messageReader) (int, error) {
	var header [5]byte // one byte for the compression, and four bytes for the size
	if err := reader.ReadMessageHeader(header[:]); err != nil {
		return 0, readError(err)
	}
	size := binary.BigEndian.Uint32(header[1:])
	switch {
	case header[0] != 0:
		return 0, errCompressed
	case size > maxManagementBytes:
		c.service.options.Reached(admission.MessageBytes)
		return 0, status.Errorf(codes.ResourceExhausted, "the request has %d bytes, and at most %d are allowed", size, maxManagementBytes)
	}
	return int(size), nil
}

// `received` counts the request of a method of CredentialService or ProviderService.
func (c *call) received(request any) {
	c.method.Received.Inc()
	switch about := request.(type) {
	case interface{ GetCredentialId() string }:
		c.credentialID = about.GetCredentialId()
	case *authmaterialv1.UpdateCredentialRequest:
		c.credentialID = about.GetCredential().GetCredentialId()
	}
}

func readError(err error) error {
	if _, known := status.FromError(err); known || isContextError(err) {
		return err
	}
	return errIncomplete
}

// answerTo returns the result of a handler. For a failed call, the response is nil, and not a nil
// pointer to a Response.
func answerTo[Response any](response *Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return response, nil
}
