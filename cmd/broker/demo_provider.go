package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
)

const sendPulseHost = "api.sendpulse.com"

// demoProvider is the simulated SendPulse at a loopback address, without TLS, so that programs can
// send requests to it with the material of sendpulse-oauth.
type demoProvider struct {
	address net.Addr
	server  *http.Server
}

// newDemoProvider serves until close is called.
func newDemoProvider(ctx context.Context, sim *simulator.Simulator) (*demoProvider, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for requests to the simulated SendPulse: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", sendPulseHost, sendPulseHost
		},
		Transport: sim.Transport(),
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // if it cannot serve, requests fail
	return &demoProvider{listener.Addr(), server}, nil
}

func (p *demoProvider) close() { _ = p.server.Close() }

// url is the URL of an API method that accepts the token of sendpulse-oauth.
func (p *demoProvider) url() string { return "http://" + p.address.String() + "/user/info" }

// allow adds the address to the allowed hosts of sendpulse-oauth in a configuration.
func (p *demoProvider) allow(text string) string {
	const method = "    auth_method: oauth2_client_credentials\n"
	return strings.Replace(text, method, method+fmt.Sprintf("    allowed_hosts: [%q]\n", p.address), 1)
}
