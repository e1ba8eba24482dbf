package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
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
	setLongestTime(response)
	grpcServer := grpc.NewServer()
	authmaterialv1.RegisterBrokerServiceServer(grpcServer, &doNothing{response: response})
	httpServer := &http.Server{Handler: newMetricsHandler(), ReadHeaderTimeout: time.Second}

	grpcListener, httpListener, err := listen(ctx)
	if err != nil {
		return err
	}
	if err := answer(endpointOf(grpcListener, httpListener)); err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return grpcServer.Serve(grpcListener) })
	group.Go(func() error {
		if err := httpServer.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grpcServer.Stop()
		return httpServer.Close()
	})
	return group.Wait()
}

// newMetricsHandler shows what the process uses, as the broker's /metrics does.
func newMetricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
