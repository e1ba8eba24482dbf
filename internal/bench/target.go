package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/grpc"
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
	http    http.RoundTripper // for the metrics; nil: the default
	request *authmaterialv1.GetAuthDecorationRequest
	stopped int // the Redis process that is stopped during a round; 0: none
}

func newTarget(of side, credential string) (*target, error) {
	client, closeClient, err := dial(of.At)
	if err != nil {
		return nil, err
	}
	transport, err := metricsTransport(of.At.Certificates)
	if err != nil {
		return nil, errors.Join(err, closeClient())
	}
	return &target{
		name:    of.Name,
		client:  client,
		close:   closeClient,
		metrics: of.At.Metrics,
		http:    transport,
		request: &authmaterialv1.GetAuthDecorationRequest{CredentialId: credential},
		stopped: of.Stopped,
	}, nil
}

func dial(at endpoint) (client authmaterialv1.BrokerServiceClient, closeClient func() error, err error) {
	encryption, err := clientCredentials(at.Certificates)
	if err != nil {
		return nil, nil, err
	}
	connection, err := grpc.NewClient("passthrough:///"+at.GRPC, grpc.WithTransportCredentials(encryption))
	if err != nil {
		return nil, nil, err
	}
	return authmaterialv1.NewBrokerServiceClient(connection), connection.Close, nil
}

// responseSize makes one call, and returns the size of its response in bytes.
func (t *target) responseSize(ctx context.Context) (int, error) {
	response, err := t.client.GetAuthDecoration(ctx, t.request)
	if err != nil {
		return 0, fmt.Errorf("call the server %q: %w", t.name, err)
	}
	setLongestTimes(response)
	return proto.Size(response), nil
}

// setLongestTimes makes a response's times as long as they get: their nanoseconds take
// up to 5 bytes on the wire. The refresh time of static material is counted from the
// call, and two servers have tokens of their own. Everything else is of the same size in
// each response.
func setLongestTimes(response *authmaterialv1.GetAuthDecorationResponse) {
	decoration := response.GetAuthDecoration()
	for _, moment := range []*timestamppb.Timestamp{decoration.GetExpireTime(), decoration.GetRefreshTime()} {
		if moment != nil {
			moment.Nanos = 999_999_999
		}
	}
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
		return 0, fmt.Errorf("the response of the server %q has %d bytes, and that of the server %q %d", a.name, sizeOfA, b.name, sizeOfB)
	}
	return sizeOfA, nil
}
