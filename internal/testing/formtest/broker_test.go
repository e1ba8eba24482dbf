package formtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.yaml.in/yaml/v4"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// now is the time at which the broker makes the first decoration.
var now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// broker is a broker that serves gRPC.
type broker struct {
	*testing.T

	clock *clockwork.FakeClock
	conn  *grpc.ClientConn
}

// newBroker starts a broker with a configuration. It returns an error if the configuration has a
// problem.
func newBroker(t *testing.T, internet *internet, text string) (*broker, error) {
	t.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: environment})
	if err != nil {
		return nil, err
	}
	b := &broker{T: t, clock: clockwork.NewFakeClockAt(now)}
	made, err := server.New(server.Options{
		Config: loaded, Logger: slog.New(slog.DiscardHandler), Clock: b.clock, TokenTransport: internet.transport(), Version: "formtest",
	})
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- made.ServeGRPC(listener) }()
	b.conn, err = grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.conn.Close()
		made.Stop(context.Background())
		if err := <-served; err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	return b, nil
}

// call returns the context of a call.
func (b *broker) call() (context.Context, context.CancelFunc) {
	ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+callerToken)
	return context.WithTimeout(ctx, 30*time.Second)
}

// get returns the decoration of the credential `mine`.
func (b *broker) get() (*authmaterialv1.AuthDecoration, error) {
	ctx, cancel := b.call()
	defer cancel()
	answer, err := authmaterialv1.NewBrokerServiceClient(b.conn).
		GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "mine"})
	return answer.GetAuthDecoration(), err
}

// decoration returns the decoration as a text, or the reason and the message of the call's error.
func (b *broker) decoration() (decoration, failure string) {
	b.Helper()
	got, err := b.get()
	if err != nil {
		failed := status.Convert(err)
		for _, detail := range failed.Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				failure = info.GetReason() + ": "
			}
		}
		return "", failure + failed.Message()
	}
	return b.describe(got), ""
}

// describe returns a decoration without what is the same in most cases.
func (b *broker) describe(decoration *authmaterialv1.AuthDecoration) string {
	lines := []string{strings.Join(decoration.GetAllowedHosts(), " ")}
	for _, header := range decoration.GetHeaders() {
		suffix := map[bool]string{true: " (only if absent)"}[header.GetOnlyIfAbsent()]
		lines = append(lines, header.GetName()+": "+header.GetValue()+suffix)
	}
	for _, parameter := range decoration.GetQueryParams() {
		lines = append(lines, "?"+parameter.GetName()+"="+parameter.GetValue())
	}
	if expires := decoration.GetExpireTime(); expires != nil {
		lines = append(lines, expires.AsTime().Sub(b.clock.Now()).String())
	}
	if statuses := list(decoration.GetRejectedStatuses()); statuses != "401" {
		lines = append(lines, "rejected: "+statuses)
	}
	for _, condition := range decoration.GetRejectedWhen() {
		lines = append(lines, "rejected when: "+describeCondition(condition))
	}
	return strings.Join(lines, "\n")
}

func describeCondition(condition *authmaterialv1.RejectionCondition) string {
	parts := []string{list(condition.GetStatuses())}
	for _, header := range condition.GetHeaders() {
		parts = append(parts, "header "+header.GetName()+" is "+header.GetValue())
	}
	for _, member := range condition.GetJson().GetMembers() {
		is := map[bool]string{true: "is not", false: "is"}[member.GetNegated()]
		value := member.ProtoReflect().WhichOneof(member.ProtoReflect().Descriptor().Oneofs().ByName("value"))
		parts = append(parts, fmt.Sprintf("json %s %s %v", strings.Join(member.GetPath(), "/"), is, member.ProtoReflect().Get(value)))
	}
	return strings.Join(parts, ", ")
}

// list returns numbers with a space between them.
func list(numbers []int32) string { return strings.Trim(fmt.Sprint(numbers), "[]") }

// configuration returns the configuration of a broker with the case's provider and credential.
func (c testCase) configuration(t *testing.T, internet *internet) string {
	t.Helper()
	method := map[string]any{}
	if err := yaml.Load([]byte(c.Method), &method); err != nil {
		t.Fatalf("the method: %v", err)
	}
	method["id"], method["display_name"], method["fields"] = "main-1_a", "Main", c.fields()
	values := map[string]any{}
	for field, value := range c.Values {
		values[field] = map[string]string{"value": internet.made(value)}
	}
	hosts := c.Hosts
	if hosts == nil {
		hosts = []string{"api.example.com"}
	}
	text, err := json.MarshalIndent(map[string]any{
		"providers": []any{map[string]any{
			"id": "0-example", "display_name": "Example", "allowed_hosts": hosts, "any_host": c.AnyHost, "auth_methods": []any{method},
		}},
		"credentials": []any{map[string]any{
			"id": "mine", "provider": "0-example", "auth_method": "main-1_a", "values": values, "allowed_hosts": append([]string{}, c.AddedHosts...),
		}},
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (c testCase) fields() (fields []any) {
	for id := range strings.SplitSeq(c.Fields, ", ") {
		name := strings.Trim(id, "?*")
		fields = append(fields, map[string]any{
			"id": name, "display_name": name, "required": !strings.Contains(id, "?"), "secret": strings.Contains(id, "*"),
		})
	}
	return fields
}

// storeKey is the key of credential stores.
var storeKey = fleetkeys.Generate()

func environment(name string) (string, bool) { return storeKey, name == "STORE_KEY" }
