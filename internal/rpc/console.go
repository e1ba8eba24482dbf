package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

var errNotPrivate = fault.New(fault.AccessDenied,
	"sign-in links are created only for calls over a Unix socket that only the broker's user can open (mode 0600): use the address of such a socket, or sign in to the console with a token")

// registerConsole registers ConsoleService with a gRPC server.
func (s *Service) registerConsole(server grpc.ServiceRegistrar) {
	description := authmaterialv1.ConsoleService_ServiceDesc
	description.Methods = []grpc.MethodDesc{
		managing(s, authmaterialv1.ConsoleService_CreateSignInLink_FullMethodName, s.createSignInLink),
	}
	server.RegisterService(&description, nil)
}

func (s *Service) createSignInLink(
	ctx context.Context, _ *authmaterialv1.CreateSignInLinkRequest,
) (*authmaterialv1.CreateSignInLinkResponse, error) {
	if !callerOf(ctx).PrivateSocket {
		return nil, errNotPrivate
	}
	link, expires, err := s.options.SignInLink(EvidenceOf(ctx))
	return &authmaterialv1.CreateSignInLinkResponse{Url: link, ExpireTime: timestamppb.New(expires)}, err
}
