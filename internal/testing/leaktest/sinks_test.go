package leaktest_test

import (
	"context"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// spans is an OpenTelemetry collector that records each received trace as Protobuf and as JSON.
type spans struct {
	collector.UnimplementedTraceServiceServer
	w *world
}

func (s spans) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, encode := range []func(proto.Message) ([]byte, error){protojson.Marshal, proto.Marshal} {
		text, err := encode(request)
		if err != nil {
			return nil, err
		}
		s.w.collect("traces", text)
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// collectSpans starts a collector, to which programs that start from now on send their traces.
func (w *world) collectSpans() {
	w.Helper()
	listener, err := new(net.ListenConfig).Listen(w.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	answering := grpc.NewServer()
	collector.RegisterTraceServiceServer(answering, spans{w: w})
	go func() { _ = answering.Serve(listener) }()
	w.Cleanup(answering.Stop)
	w.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	w.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
}

func (w *world) collectRedis(client *redis.Client) int {
	w.Helper()
	keys, err := client.Keys(w.Context(), "*").Result()
	if err != nil {
		w.Fatal(err)
	}
	for _, key := range keys {
		var value any
		switch kind := client.Type(w.Context(), key).Val(); kind {
		case "string":
			value, err = client.Get(w.Context(), key).Result()
		case "hash":
			value, err = client.HGetAll(w.Context(), key).Result()
		case "list":
			value, err = client.LRange(w.Context(), key, 0, -1).Result()
		case "set":
			value, err = client.SMembers(w.Context(), key).Result()
		case "zset":
			value, err = client.ZRange(w.Context(), key, 0, -1).Result()
		case "stream":
			value, err = client.XRange(w.Context(), key, "-", "+").Result()
		case "none": // the key has expired
		default:
			w.Fatalf("Redis contains a value of type %s, which the test cannot search", kind)
		}
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns the error redis.Nil without wrapping it
			w.Fatal(err)
		}
		w.collect("Redis: keys and values", fmt.Appendf(nil, "%s %v", key, value))
	}
	return len(keys)
}
