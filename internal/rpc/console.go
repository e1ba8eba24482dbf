package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

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
	link, expires, err := s.options.SignInLink(ctx, EvidenceOf(ctx))
	return &authmaterialv1.CreateSignInLinkResponse{Url: link, ExpireTime: timestamppb.New(expires)}, err
}
