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
)

func serve(ctx context.Context, grpcServer *grpc.Server, answer func(any) error) error {
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

// newMetricsHandler serves metrics about the resource use of the process, with the same names as
// the broker's metrics.
func newMetricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
