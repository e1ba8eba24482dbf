package server_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/server"
)

// A spanCollector is an OpenTelemetry collector that records the spans it receives.
type spanCollector struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu       sync.Mutex
	received []*collector.ExportTraceServiceRequest
}

func (c *spanCollector) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, request)
	return &collector.ExportTraceServiceResponse{}, nil
}

// newCollector starts a collector, and makes brokers send traces to it by environment variables.
func newCollector(t *testing.T) *spanCollector {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &spanCollector{address: "http://" + listener.Addr().String()}
	answering := grpc.NewServer()
	collector.RegisterTraceServiceServer(answering, c)
	go func() { _ = answering.Serve(listener) }()
	t.Cleanup(answering.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.address)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	return c
}

// spans returns the received spans by name, in the order in which they began.
func (c *spanCollector) spans() map[string][]*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]*otlp.Span{}
	for _, request := range c.received {
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					found[span.GetName()] = append(found[span.GetName()], span)
				}
			}
		}
	}
	for _, spans := range found {
		slices.SortFunc(spans, func(a, b *otlp.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	}
	return found
}

// text returns all received data as Protobuf and as JSON, to search it for secrets.
func (c *spanCollector) text(t *testing.T) string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, request := range c.received {
		readable, err := protojson.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(readable)
		all.Write(wire)
	}
	return all.String()
}

// traced starts a server with tracing. The returned function stops the server, which sends all
// spans.
func traced(t *testing.T, change ...func(*server.Options)) (h harness, done func()) {
	t.Helper()
	traces := observe.Start(t.Context(), "test", slog.New(slog.DiscardHandler))
	h = serve(t, append(change, func(o *server.Options) { o.Traces = traces })...)
	return h, func() {
		h.server.Stop(context.Background())
		traces.Stop()
	}
}

func attributes(pairs []*common.KeyValue) map[string]string {
	found := map[string]string{}
	for _, pair := range pairs {
		value := pair.GetValue().GetStringValue()
		if value == "" {
			value = fmt.Sprint(pair.GetValue().GetIntValue())
		}
		found[pair.GetKey()] = value
	}
	return found
}

const (
	getSpan    = "authmaterial.v1.BrokerService/GetAuthDecoration"
	reportSpan = "authmaterial.v1.BrokerService/ReportRejection"
)

// In TestTraces, a provider first answers with an error that quotes the token request, then issues
// a token, and later replaces it.
func TestTraces(t *testing.T) {
	c := newCollector(t)
	h, done := traced(t)
	h.sim.SendPulse.FailNextTokenRequests(1, simulator.EchoRequest())
	_ = h.get("token-of-mail")
	if err := h.server.ForgetFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	response, err := h.client().GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "token-of-mail"})
	if err != nil {
		t.Fatal(err)
	}
	_ = h.get("token-of-mail")
	_, err = h.client().ReportRejection(t.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "token-of-mail", Version: response.GetAuthDecoration().GetVersion(), HttpStatus: 401,
	})
	if err != nil {
		t.Fatal(err)
	}
	done()

	spans := c.spans()
	gets, reports, requests := spans[getSpan], spans[reportSpan], spans["token request"]
	if len(gets) != 3 || len(reports) != 1 || len(requests) != 3 {
		t.Fatalf("the spans are %v", slices.Sorted(maps.Keys(spans)))
	}
	for i, starter := range []*otlp.Span{gets[0], gets[1], reports[0]} {
		wantLink(t, requests[i], starter)
	}
	for i, want := range []map[string]string{
		{"authmaterial.result": "refused", "http.response.status_code": "400"},
		{"authmaterial.result": "ok", "http.response.status_code": "200"},
		{"authmaterial.result": "ok", "http.response.status_code": "200"},
	} {
		want["authmaterial.provider"], want["authmaterial.auth_method"] = "sendpulse", "oauth2_client_credentials"
		if diff := cmp.Diff(want, attributes(requests[i].GetAttributes())); diff != "" {
			t.Errorf("the attributes of token request %d (-want +got):\n%s", i, diff)
		}
	}
	if spans["grpc.health.v1.Health/Check"] != nil {
		t.Error("health calls are traced")
	}
	h.wantNoSecret("a trace", c.text(t))
}

// wantLink checks that a token request has a trace of its own, with a link to the call that caused
// the request.
func wantLink(t *testing.T, request, call *otlp.Span) {
	t.Helper()
	links := request.GetLinks()
	if len(links) != 1 || string(links[0].GetSpanId()) != string(call.GetSpanId()) || string(links[0].GetTraceId()) != string(call.GetTraceId()) {
		t.Errorf("a token request has %d links, want one to the call %s", len(links), call.GetName())
	}
	if len(request.GetParentSpanId()) != 0 || string(request.GetTraceId()) == string(call.GetTraceId()) {
		t.Error("a token request is part of a call's trace")
	}
}

func TestAuditRecordsHaveTraceIDs(t *testing.T) {
	c := newCollector(t)
	path := filepath.Join(t.TempDir(), "audit")
	h, done := traced(t, func(o *server.Options) { o.Config.Audit = config.Audit{Enabled: true, Path: path} })
	if err := h.get("key-of-board"); err != nil {
		t.Fatal(err)
	}
	done()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		TraceID string `json:"trace_id"`
	}
	spans := c.spans()[getSpan]
	if err := json.Unmarshal(text, &line); err != nil || len(spans) != 1 || line.TraceID != hex.EncodeToString(spans[0].GetTraceId()) {
		t.Errorf("the audit line is %s (%v), want the trace ID of %v", text, err, spans)
	}
}

// An environment variable can turn tracing off even if another one sets a collector.
func TestTracesAreOff(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_SDK_DISABLED":           "true",
		"OTEL_TRACES_EXPORTER":        "none",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t)
			t.Setenv(name, value)
			traces := observe.Start(t.Context(), "test", slog.New(slog.DiscardHandler))
			if traces != nil {
				t.Fatal("tracing is on although it is turned off")
			}
			h, done := traced(t)
			_ = h.get("token-of-mail")
			done()
			if spans := c.spans(); len(spans) != 0 {
				t.Errorf("spans with %d different names were sent", len(spans))
			}
		})
	}
}

// TestManagementTraces checks that calls over HTTP are traced in the same way as calls over gRPC.
func TestManagementTraces(t *testing.T) {
	c := newCollector(t)
	traces := observe.Start(t.Context(), "test", slog.New(slog.DiscardHandler))
	m := serveSQLite(t, func(o *server.Options) { o.Traces = traces })
	const parent, parentSpan = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	traced := func(r *http.Request) { r.Header.Set("Traceparent", "00-"+parent+"-"+parentSpan+"-01") }
	m.post("admin", credentialService+"CreateCredential", createBody("pulse"), traced)
	m.post("", credentialService+"GetCredential", `{"credentialId": "pulse"}`)
	if _, err := m.credentials.GetCredential(m.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: "pulse"}); err == nil {
		t.Error("a call without a token succeeded")
	}
	m.server.Stop(context.Background())
	traces.Stop()

	spans := c.spans()
	created, gets := spans[credentialService+"CreateCredential"], spans[credentialService+"GetCredential"]
	if len(created) != 1 || len(gets) != 2 {
		t.Fatalf("the spans are %v", slices.Sorted(maps.Keys(spans)))
	}
	if s := created[0]; hex.EncodeToString(s.GetTraceId()) != parent || hex.EncodeToString(s.GetParentSpanId()) != parentSpan {
		t.Errorf("the span is not part of the client's trace: %v", s)
	}
	if got := attributes(created[0].GetAttributes())["rpc.response.status_code"]; got != "OK" {
		t.Errorf("the status of the created credential is %q", got)
	}
	overHTTP, overGRPC := attributes(gets[0].GetAttributes()), attributes(gets[1].GetAttributes())
	if overHTTP["rpc.system.name"] != "connectrpc" || overGRPC["rpc.system.name"] != "grpc" {
		t.Errorf("the values of rpc.system.name are %q and %q", overHTTP["rpc.system.name"], overGRPC["rpc.system.name"])
	}
	for _, key := range []string{"rpc.system.name", "server.address", "server.port"} {
		delete(overHTTP, key)
		delete(overGRPC, key)
	}
	if diff := cmp.Diff(overGRPC, overHTTP); diff != "" || overHTTP["rpc.response.status_code"] != "UNAUTHENTICATED" {
		t.Errorf("the attributes of a call over HTTP (-gRPC +HTTP):\n%s", diff)
	}
	if gets[0].GetKind() != otlp.Span_SPAN_KIND_SERVER || !proto.Equal(gets[0].GetStatus(), gets[1].GetStatus()) {
		t.Errorf("the kind of a span over HTTP is %v, and the statuses are %v and %v", gets[0].GetKind(), gets[0].GetStatus(), gets[1].GetStatus())
	}
	if text := c.text(t); strings.Contains(text, pulsediveKey) || strings.Contains(text, tokenOf("admin")) {
		t.Error("a trace contains a secret")
	}
}
