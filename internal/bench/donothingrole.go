package main

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// doNothing answers each call with the same message.
type doNothing struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	response *authmaterialv1.GetAuthDecorationResponse
}

// GetAuthDecoration does nothing.
func (d *doNothing) GetAuthDecoration(context.Context, *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	return d.response, nil
}

// serveDoNothing runs a server without interceptors, whose only message is one that it
// fetches from the broker.
func serveDoNothing(ctx context.Context, told task, answer func(any) error) error {
	broker, closeBroker, err := dial(told.Broker)
	if err != nil {
		return err
	}
	response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: told.Credential})
	if err := errors.Join(err, closeBroker()); err != nil {
		return err
	}
	setLongestTimes(response)
	encryption, err := serverCredentials(told.Certificates)
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(grpc.Creds(encryption))
	authmaterialv1.RegisterBrokerServiceServer(grpcServer, &doNothing{response: response})
	return serve(ctx, grpcServer, func(where any) error {
		answering := where.(endpoint)
		answering.Certificates = told.Certificates
		return answer(answering)
	})
}
