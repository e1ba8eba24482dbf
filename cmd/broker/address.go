package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// brokerAddress is an address of a broker, and the value of a flag.
type brokerAddress struct{ network, address string }

// Set reads `host:port` or `unix:///path`.
func (a *brokerAddress) Set(text string) error {
	if path, found := strings.CutPrefix(text, "unix://"); found {
		if !strings.HasPrefix(path, "/") {
			return errors.New("a Unix socket needs an absolute path, such as unix:///run/broker.sock")
		}
		*a = brokerAddress{"unix", path}
		return nil
	}
	if scheme, rest, found := strings.Cut(text, "://"); found {
		return fmt.Errorf("leave out %s://, as in %s; --tls turns TLS on", scheme, strings.TrimRight(rest, "/"))
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "" {
		return errors.New("must be a host with a port, such as 127.0.0.1:50051, or unix:///path")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("the port must be a number from 0 to 65535")
	}
	*a = brokerAddress{"tcp", text}
	return nil
}

// isLocal reports whether the address is on this machine. localhost counts: the transport's
// credentials check the address that it resolves to.
func (a *brokerAddress) isLocal() bool {
	host, _, _ := net.SplitHostPort(a.address) // Set has checked it
	ip, err := netip.ParseAddr(host)
	return a.network == "unix" || host == "localhost" || err == nil && ip.IsLoopback()
}

// authority is the name that gRPC calls the broker by, and that its certificate must have.
func (a *brokerAddress) authority() string {
	if a.network == "unix" {
		return "localhost"
	}
	return a.address
}

// String is the form that Set reads.
func (a *brokerAddress) String() string {
	if a.network == "unix" {
		return "unix://" + a.address
	}
	return a.address
}

// Type implements pflag.Value: help shows it in the value's place.
func (a *brokerAddress) Type() string { return "address" }
