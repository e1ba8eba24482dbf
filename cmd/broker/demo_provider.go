package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/simulated"
)

// demoProvider is a simulated provider at a loopback address, without TLS, so that programs can send
// requests to it with the material of a credential.
type demoProvider struct {
	address net.Addr
	server  *http.Server
	url     string // the URL of an API call that succeeds only with the material
}

// newDemoProvider serves the host of a call until close is called.
func newDemoProvider(ctx context.Context, sim *simulator.Simulator, call simulated.Call) (*demoProvider, error) {
	called, err := url.Parse(call.URL)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for requests to a simulated provider: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", called.Host, called.Host
		},
		Transport: sim.Transport(),
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // if it cannot serve, requests fail
	return &demoProvider{listener.Addr(), server, "http://" + listener.Addr().String() + called.Path}, nil
}

func (p *demoProvider) close() { _ = p.server.Close() }
