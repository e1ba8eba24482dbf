package server

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/internal/rpc"
)

// callMetrics are about calls, by method. Their names and labels are those of
// go-grpc-middleware's metrics, for which there are dashboards: docs/adr/0020-the-lean-chain.md says
// why they are our own.
type callMetrics struct {
	started, handled, received, sent *prometheus.CounterVec
	seconds                          *prometheus.HistogramVec
}

func newCallMetrics(registry prometheus.Registerer) *callMetrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(labels[:len(labels):len(labels)], more...))
	}
	m := &callMetrics{
		started:  counter("grpc_server_started_total", "Calls that have begun."),
		handled:  counter("grpc_server_handled_total", "Calls that have ended, by the code of their answer.", "grpc_code"),
		received: counter("grpc_server_msg_received_total", "Messages received."),
		sent:     counter("grpc_server_msg_sent_total", "Messages sent."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grpc_server_handling_seconds", Help: "How long calls took.", Buckets: prometheus.DefBuckets,
		}, labels),
	}
	registry.MustRegister(m.started, m.handled, m.received, m.sent, m.seconds)
	return m
}

// of returns the metrics of a method, at 0 until there is a call.
func (m *callMetrics) of(name string, stream bool) *rpc.MethodMetrics {
	kind := "unary"
	if stream {
		kind = "server_stream"
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	made := &rpc.MethodMetrics{
		Started:  m.started.WithLabelValues(kind, service, method),
		Received: m.received.WithLabelValues(kind, service, method),
		Sent:     m.sent.WithLabelValues(kind, service, method),
		Seconds:  m.seconds.WithLabelValues(kind, service, method),
	}
	for code := range made.Handled {
		made.Handled[code] = m.handled.WithLabelValues(kind, service, method, codes.Code(code).String())
	}
	return made
}
