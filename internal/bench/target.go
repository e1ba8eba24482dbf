package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// target is a server under load.
type target struct {
	name    string
	client  authmaterialv1.BrokerServiceClient
	close   func() error
	metrics string
	request *authmaterialv1.GetAuthDecorationRequest
}

func newTarget(name string, at endpoint, credential string) (*target, error) {
	client, closeClient, err := dial(at)
	if err != nil {
		return nil, err
	}
	return &target{
		name:    name,
		client:  client,
		close:   closeClient,
		metrics: at.Metrics,
		request: &authmaterialv1.GetAuthDecorationRequest{CredentialId: credential},
	}, nil
}

func dial(at endpoint) (client authmaterialv1.BrokerServiceClient, closeClient func() error, err error) {
	connection, err := grpc.NewClient("passthrough:///"+at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return authmaterialv1.NewBrokerServiceClient(connection), connection.Close, nil
}

// responseSize makes one call, and returns the size of its response in bytes.
func (t *target) responseSize(ctx context.Context) (int, error) {
	response, err := t.client.GetAuthDecoration(ctx, t.request)
	if err != nil {
		return 0, fmt.Errorf("call the %s server: %w", t.name, err)
	}
	setLongestTime(response)
	return proto.Size(response), nil
}

// setLongestTime makes a response's refresh time as long as it gets. That of static
// material is counted from the call, and its nanoseconds take up to 5 bytes on the
// wire. Everything else in a response is the same in each call.
func setLongestTime(response *authmaterialv1.GetAuthDecorationResponse) {
	refresh := response.GetAuthDecoration().GetRefreshTime()
	if refresh == nil {
		return
	}
	response.AuthDecoration.RefreshTime = &timestamppb.Timestamp{Seconds: refresh.GetSeconds(), Nanos: 999_999_999}
}

// compareSizes says whether both targets send responses of the same size, and which.
func compareSizes(ctx context.Context, a, b *target) (int, error) {
	sizeOfA, err := a.responseSize(ctx)
	if err != nil {
		return 0, err
	}
	sizeOfB, err := b.responseSize(ctx)
	if err != nil {
		return 0, err
	}
	if sizeOfA != sizeOfB {
		return 0, fmt.Errorf("the %s server's response has %d bytes, and the %s server's %d", a.name, sizeOfA, b.name, sizeOfB)
	}
	return sizeOfA, nil
}
