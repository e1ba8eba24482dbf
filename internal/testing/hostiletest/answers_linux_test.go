package hostiletest

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/health/grpc_health_v1"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// largeBatch returns the request that has the largest possible answer.
func largeBatch() *authmaterialv1.BatchGetAuthDecorationsRequest {
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key"}, 100)}
}

// HTTP/2 window settings of a client. The setting `nothing` does not allow the server to send
// any part of an answer. The setting `everything` allows the server to send complete answers.
var (
	nothing    = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}
	everything = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}
)

// TestAnswersNeverRead requests large answers repeatedly, and does not read the answers.
func TestAnswersNeverRead(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		clients(ctx, b, 40, 5*time.Second, func(_ int, c *rawClient) {
			c.note(c.framer.WriteWindowUpdate(0, 1<<31-1-65535))
			c.repeat(3000, func(int) { c.ask(methodBatch, largeBatch()) })
		}, everything)
	})
}

// TestAnswersHeldBack requests large answers. The client's flow-control window does not allow
// the server to send any part of the answers.
func TestAnswersHeldBack(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 40, func(c *rawClient) {
			c.repeat(1000, func(int) { c.ask(methodBatch, largeBatch()) })
		}, nothing)
	})
}

// TestHealthHeldBack makes health checks with the largest headers, and does not allow the server
// to send any part of the answers. Health checks need no authentication.
func TestHealthHeldBack(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.token = ""
			c.repeat(1000, func(int) { c.ask(methodHealth, &grpc_health_v1.HealthCheckRequest{}, large...) })
		}, nothing)
	})
}
