package config

import "github.com/authmaterial/broker/internal/strictyaml"

// Limits bound what clients can take up. None is 0. The schema has their bounds.
type Limits struct {
	// Connections is how many there are at once at the gRPC address. HTTP has a tenth.
	Connections int
	// ConnectionsPerCaller is how many of them are one caller's.
	ConnectionsPerCaller int
	// StreamsPerConnection is how many calls and watches one connection has at once.
	StreamsPerConnection int
	// ConcurrentCalls is how many calls and watches there are at once.
	ConcurrentCalls int
	// MessageBytes and HeaderBytes are the sizes of a request's message and of its headers.
	MessageBytes, HeaderBytes int
	// WatchesPerCaller is how many watches one caller has at once, a quarter of ConcurrentCalls at
	// most.
	WatchesPerCaller int
	// CallsPerSecond is what one caller may do in the long run, and CallBurst at once. A
	// call counts once for each credential.
	CallsPerSecond, CallBurst int
	// DenialsPerSecond is how many denials of one caller are recorded in the long run, and
	// DenialBurst at once.
	DenialsPerSecond, DenialBurst int
}

// minBurst has a batch of 100 credentials be possible, all of them denied too.
const minBurst = 100

func parseLimits(value strictyaml.Value) Limits {
	read := func(key string, otherwise int) int {
		if number, ok := value.Key(key).Int(); ok {
			return number
		}
		return otherwise
	}
	limits := Limits{
		Connections:          read("connections", 1000),
		ConnectionsPerCaller: read("connections_per_caller", 32),
		StreamsPerConnection: read("streams_per_connection", 100),
		ConcurrentCalls:      read("concurrent_calls", 1000),
		MessageBytes:         read("message_bytes", 16<<10),
		HeaderBytes:          read("header_bytes", 16<<10),
		WatchesPerCaller:     read("watches_per_caller", 1000),
		CallsPerSecond:       read("calls_per_second", 5000),
		DenialsPerSecond:     read("denials_per_second", 10),
	}
	limits.CallBurst = read("call_burst", max(minBurst, 2*limits.CallsPerSecond))
	limits.DenialBurst = read("denial_burst", max(minBurst, 10*limits.DenialsPerSecond))
	return limits
}
