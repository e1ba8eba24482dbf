//go:build ignore

// Call calls a broker with generated stubs: `call ADDRESS`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func main() {
	if err := call(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(ctx context.Context, address string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	broker := authmaterialv1.NewBrokerServiceClient(connection)
	response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "sendpulse-key"})
	if err != nil {
		return err
	}
	for _, header := range response.GetAuthDecoration().GetHeaders() {
		fmt.Printf("%s: %s\n", header.GetName(), header.GetValue())
	}
	var md metadata.MD
	_, err = broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "unknown"}, grpc.Trailer(&md))
	if err == nil {
		return errors.New("the call for an unknown credential succeeded")
	}
	for _, reason := range md.Get("authmaterial-error-reason") {
		fmt.Println(reason)
	}
	return nil
}
