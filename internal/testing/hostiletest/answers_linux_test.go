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

// largeBatch returns the request with the largest possible answer.
func largeBatch() *authmaterialv1.BatchGetAuthDecorationsRequest {
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key"}, 100)}
}

// With the setting `nothing`, an HTTP/2 client lets the server send no part of an answer. With the
// setting `everything`, the client lets the server send complete answers.
var (
	nothing    = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}
	everything = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}
)

func TestAnswersNeverRead(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		clients(ctx, b, 40, 5*time.Second, func(_ int, c *rawClient) {
			c.note(c.framer.WriteWindowUpdate(0, 1<<31-1-65535))
			c.repeat(3000, func(int) { c.ask(methodBatch, largeBatch()) })
		}, everything)
	})
}

// TestAnswersHeldBack requests large answers, and lets the server send no part of them.
func TestAnswersHeldBack(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 40, func(c *rawClient) {
			c.repeat(1000, func(int) { c.ask(methodBatch, largeBatch()) })
		}, nothing)
	})
}

// TestHealthHeldBack makes health checks, which need no authentication, with the largest headers,
// and lets the server send no part of the answers.
func TestHealthHeldBack(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.token = ""
			c.repeat(1000, func(int) { c.ask(methodHealth, &grpc_health_v1.HealthCheckRequest{}, large...) })
		}, nothing)
	})
}
