package config

import "github.com/authmaterial/broker/internal/yamlfile"

// Limits bound what clients can use. None is 0.
type Limits struct {
	// Connections is how many there may be at once at the gRPC address. HTTP has a tenth.
	Connections int
	// ConnectionsPerCaller is how many of them one caller may have.
	ConnectionsPerCaller int
	// StreamsPerConnection is how many calls and watches one connection may have at once.
	StreamsPerConnection int
	// ConcurrentCalls is how many calls and watches there may be at once.
	ConcurrentCalls int
	// MessageBytes and HeaderBytes are the sizes of a request's message and of its headers.
	MessageBytes, HeaderBytes int
	// WatchesPerCaller is how many watches one caller may have at once. A quarter of
	// ConcurrentCalls is a further limit.
	WatchesPerCaller int
	// CallsPerSecond is the rate of one caller in the long run, and CallBurst the number of
	// calls at once. A call counts once for each credential.
	CallsPerSecond, CallBurst int
	// DenialsPerSecond is how many denials of one caller are recorded in the long run, and
	// DenialBurst at once.
	DenialsPerSecond, DenialBurst int
}

// minBurst allows a batch of 100 credentials, and the record of as many denials.
const minBurst = 100

func readLimits(section yamlfile.Value) Limits {
	section.Mapping("connections", "connections_per_caller", "streams_per_connection", "concurrent_calls", "message_bytes", "header_bytes",
		"watches_per_caller", "calls_per_second", "call_burst", "denials_per_second", "denial_burst")
	const million = 1_000_000
	limits := Limits{
		Connections:          section.Get("connections").Int(1, million, 1000),
		ConnectionsPerCaller: section.Get("connections_per_caller").Int(1, million, 32),
		StreamsPerConnection: section.Get("streams_per_connection").Int(1, million, 100),
		ConcurrentCalls:      section.Get("concurrent_calls").Int(1, million, 1000),
		MessageBytes:         section.Get("message_bytes").Int(16<<10, 4<<20, 16<<10),
		HeaderBytes:          section.Get("header_bytes").Int(4<<10, 1<<20, 16<<10),
		WatchesPerCaller:     section.Get("watches_per_caller").Int(1, million, 1000),
		CallsPerSecond:       section.Get("calls_per_second").Int(1, million, 5000),
		DenialsPerSecond:     section.Get("denials_per_second").Int(1, million, 10),
	}
	limits.CallBurst = section.Get("call_burst").Int(minBurst, 10*million, max(minBurst, 2*limits.CallsPerSecond))
	limits.DenialBurst = section.Get("denial_burst").Int(1, 10*million, max(minBurst, 10*limits.DenialsPerSecond))
	return limits
}
