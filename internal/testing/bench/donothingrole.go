package main

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/server"
)

// doNothing answers each call with the same message.
type doNothing struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	response *authmaterialv1.GetAuthDecorationResponse
	batch    *authmaterialv1.BatchGetAuthDecorationsResponse
	state    *authmaterialv1.WatchAuthDecorationsResponse
	changes  *changes
}

func (d *doNothing) GetAuthDecoration(context.Context, *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	return d.response, nil
}

func (d *doNothing) BatchGetAuthDecorations(context.Context, *authmaterialv1.BatchGetAuthDecorationsRequest) (*authmaterialv1.BatchGetAuthDecorationsResponse, error) {
	return d.batch, nil
}

// serveDoNothing runs a gRPC server without interceptors, which fetches one answer from the broker
// and repeats it in every call.
func serveDoNothing(ctx context.Context, told task, answer func(any) error) error {
	broker, closeBroker, err := dial(told.Broker, 0)
	if err != nil {
		return err
	}
	repeated, err := fetch(ctx, broker, &authmaterialv1.GetAuthDecorationRequest{CredentialId: told.ids()[0]}, told.batchRequest())
	if err := errors.Join(err, closeBroker()); err != nil {
		return err
	}
	service := &doNothing{changes: newChanges()}
	service.response, _ = repeated.(*authmaterialv1.GetAuthDecorationResponse)
	service.batch, _ = repeated.(*authmaterialv1.BatchGetAuthDecorationsResponse)
	service.state = &authmaterialv1.WatchAuthDecorationsResponse{
		CredentialId: told.Credential,
		State:        &authmaterialv1.WatchAuthDecorationsResponse_AuthDecoration{AuthDecoration: service.response.GetAuthDecoration()},
	}
	encryption, err := serverCredentials(told.Certificates)
	if err != nil {
		return err
	}
	all := []grpc.ServerOption{grpc.Creds(encryption)}
	if told.Equal {
		all = append(all, server.TransportOptions()...)
	}
	grpcServer := grpc.NewServer(all...)
	authmaterialv1.RegisterBrokerServiceServer(grpcServer, service)
	change, err := serveChanges(ctx, service.changes.change)
	if err != nil {
		return err
	}
	return serve(ctx, grpcServer, func(where any) error {
		answering := where.(endpoint)
		answering.Certificates, answering.Change = told.Certificates, change
		return answer(answering)
	})
}
