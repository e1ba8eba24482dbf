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

// target is a server to which the load generator has connections.
type target struct {
	name     string
	clients  []authmaterialv1.BrokerServiceClient // one client for each connection
	close    func() error
	metrics  string
	process  int
	http     http.RoundTripper // the transport for reading metrics; nil for the default transport
	requests []*authmaterialv1.GetAuthDecorationRequest
	batch    *authmaterialv1.BatchGetAuthDecorationsRequest // the request of each call; nil if the calls are not batches
	stopped  int                                            // ID of the Redis process that a round suspends; 0 if there is none
}

func newTarget(of side, told task) (*target, error) {
	t := &target{name: of.Name, metrics: of.At.Metrics, process: of.At.Process, stopped: of.Stopped}
	var closes []func() error
	t.close = func() (err error) {
		for _, closeClient := range closes {
			err = errors.Join(err, closeClient())
		}
		return err
	}
	for i := range max(1, told.Connections) {
		client, closeClient, err := dial(of.At, i%max(1, told.Identities))
		if err != nil {
			return nil, errors.Join(err, t.close())
		}
		t.clients, closes = append(t.clients, client), append(closes, closeClient)
	}
	var err error
	if t.http, err = metricsTransport(of.At.Certificates); err != nil {
		return nil, errors.Join(err, t.close())
	}
	for _, id := range told.ids() {
		t.requests = append(t.requests, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	}
	t.batch = told.batchRequest()
	return t, nil
}

// dial connects to a server with the load generator's client certificate of the given number.
func dial(at endpoint, identity int) (client authmaterialv1.BrokerServiceClient, closeClient func() error, err error) {
	encryption, err := clientCredentials(at.Certificates, identity)
	if err != nil {
		return nil, nil, err
	}
	connection, err := grpc.NewClient("passthrough:///"+at.GRPC, grpc.WithTransportCredentials(encryption))
	if err != nil {
		return nil, nil, err
	}
	return authmaterialv1.NewBrokerServiceClient(connection), connection.Close, nil
}

// call sends the request with the given number, or the batch if there is one.
func (t *target) call(ctx context.Context, client authmaterialv1.BrokerServiceClient, number int) error {
	if t.batch == nil {
		_, err := client.GetAuthDecoration(ctx, t.requests[number])
		return err
	}
	_, err := client.BatchGetAuthDecorations(ctx, t.batch)
	return err
}

func (t *target) responseSize(ctx context.Context) (int, error) {
	response, err := fetch(ctx, t.clients[0], t.requests[0], t.batch)
	if err != nil {
		return 0, fmt.Errorf("call the server %q: %w", t.name, err)
	}
	return proto.Size(response), nil
}

// fetch makes one call, and applies setLongestTimes to the response.
func fetch(ctx context.Context, client authmaterialv1.BrokerServiceClient, request *authmaterialv1.GetAuthDecorationRequest, batch *authmaterialv1.BatchGetAuthDecorationsRequest) (proto.Message, error) {
	if batch == nil {
		response, err := client.GetAuthDecoration(ctx, request)
		setLongestTimes(response.GetAuthDecoration())
		return response, err
	}
	response, err := client.BatchGetAuthDecorations(ctx, batch)
	for _, item := range response.GetResults() {
		if item.GetError() != nil {
			err = errors.Join(err, errors.New(item.GetError().GetMessage()))
		}
		setLongestTimes(item.GetAuthDecoration())
	}
	return response, err
}

// setLongestTimes makes the sizes of responses comparable: it replaces the nanoseconds of each
// time, which take between 0 and 5 bytes, by the value with the longest encoding. Times differ
// between responses, because the refresh time of static material depends on the time of the call,
// and because two servers have different tokens. The rest of a response always has the same size.
func setLongestTimes(decoration *authmaterialv1.AuthDecoration) {
	for _, moment := range []*timestamppb.Timestamp{decoration.GetExpireTime(), decoration.GetRefreshTime()} {
		if moment != nil {
			moment.Nanos = 999_999_999
		}
	}
}

// compareSizes returns the size of a response, or an error if the responses of the targets have
// different sizes.
func compareSizes(ctx context.Context, targets []*target) (int, error) {
	first, err := targets[0].responseSize(ctx)
	if err != nil {
		return 0, err
	}
	for _, t := range targets[1:] {
		size, err := t.responseSize(ctx)
		if err != nil {
			return 0, err
		}
		if size != first {
			return 0, fmt.Errorf("responses have different sizes: the server %q sent %d bytes, and the server %q %d bytes", targets[0].name, first, t.name, size)
		}
	}
	return first, nil
}
