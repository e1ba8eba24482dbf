package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// defaultBroker is where a broker answers that was not told otherwise.
var defaultBroker = brokerAddress{network: "tcp", address: "127.0.0.1:50051"}

// brokerAddress is where a broker answers, and the value of a flag.
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

// isLocal reports whether the address leads nowhere beyond this machine. What localhost
// leads to is seen when it is dialled.
func (a *brokerAddress) isLocal() bool {
	if a.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(a.address) // Set has checked it
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String is the form that Set reads.
func (a *brokerAddress) String() string {
	if a.network == "unix" {
		return "unix://" + a.address
	}
	return a.address
}

// Type is what help shows in the value's place.
func (a *brokerAddress) Type() string { return "address" }
