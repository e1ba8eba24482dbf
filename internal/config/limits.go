package config

import "github.com/authmaterial/broker/internal/yamlfile"

// Limits are the limits on the resources that clients can use. Every limit is greater than 0.
type Limits struct {
	// Connections is the largest number of concurrent connections to the gRPC address. The HTTP
	// address accepts a tenth of this number, or up to 16 connections if a tenth is less than 16.
	Connections int
	// ConnectionsPerCaller is the largest number of concurrent gRPC connections of one caller.
	ConnectionsPerCaller int
	// StreamsPerConnection is the largest number of concurrent calls and watches per connection.
	StreamsPerConnection int
	// ConcurrentCalls is the largest number of concurrent calls and watches of all callers.
	ConcurrentCalls int
	// MessageBytes and HeaderBytes are the largest sizes of a request's message and of its headers,
	// in bytes.
	MessageBytes, HeaderBytes int
	// WatchesPerCaller is the largest number of concurrent watches of one caller. In addition, the
	// watches of one caller may take at most a quarter of ConcurrentCalls.
	WatchesPerCaller int
	// CallsPerSecond is the sustained call rate of one caller, and CallBurst is the number of calls
	// that a caller can make at once. A call for several credentials counts once per credential.
	CallsPerSecond, CallBurst int
	// DenialsPerSecond is the sustained rate at which one caller's denied calls are recorded in the
	// audit log. DenialBurst is the number of one caller's denied calls that can be recorded at
	// once.
	DenialsPerSecond, DenialBurst int
}

// minBurst is the smallest allowed value of CallBurst and DenialBurst. A burst of 100 is enough for
// one batch call with 100 credentials, and for the records of 100 denials.
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
