package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func requireRedis(t *testing.T) {
	t.Helper()
	if _, err := redistest.Find(); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("REDIS_SERVER", "")
	var out strings.Builder
	if err := measureRedis(t.Context(), options{}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT MEASURED: how much Redis slows", "apt-get install redis-server"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not contain %q:\n%s", want, &out)
		}
	}
}

func answers(t *testing.T, address string, in time.Duration) bool {
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
		return false
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(in))
	_, _ = io.WriteString(connection, "PING\r\n")
	n, _ := connection.Read(make([]byte, 1))
	return n == 1
}

// serverFunc implements BrokerService with a function for GetAuthDecoration.
type serverFunc struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	get func()
}

func (s serverFunc) GetAuthDecoration(context.Context, *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	s.get()
	return &authmaterialv1.GetAuthDecorationResponse{}, nil
}

// `served` runs a gRPC server until the end of the test.
func served(t *testing.T, server *grpc.Server) endpoint {
	ctx, stop := context.WithCancel(t.Context())
	where, ended := make(chan endpoint, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, server, func(answer any) error { where <- answer.(endpoint); return nil })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return <-where
}

func TestRedisIsStoppedInARound(t *testing.T) {
	requireRedis(t)
	err := with(t.Context(), roleRedis, task{}, func(redis redisServer) error {
		var answered []bool
		server := grpc.NewServer()
		authmaterialv1.RegisterBrokerServiceServer(server, serverFunc{get: func() {
			answered = append(answered, answers(t, redis.Address, 100*time.Millisecond))
		}})
		stopping, err := newTarget(side{At: served(t, server), Stopped: redis.Process}, task{Credential: "any"})
		if err != nil {
			return err
		}
		defer func() { _ = stopping.close() }()
		if _, err := stopping.measure(t.Context(), 1, time.Millisecond); err != nil {
			return err
		}
		if len(answered) == 0 || slices.Contains(answered, true) {
			t.Errorf("for each call, whether the suspended Redis answered: %v, want false for all calls", answered)
		}
		if !answers(t, redis.Address, time.Minute) {
			t.Error("Redis does not answer after the round")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWaitsUntilRedisIsBack(t *testing.T) {
	states := []string{"1", "1", "0"}
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if len(states) == 0 {
			t.Error("the metrics were read again after they had shown that Redis is back")
			return
		}
		_, _ = io.WriteString(w, "process_cpu_seconds_total 1\ngo_memstats_mallocs_total 1\n"+
			"go_memstats_alloc_bytes_total 1\nauthmaterial_token_cache_degraded "+states[0]+"\n")
		states = states[1:]
	}))
	defer metrics.Close()
	waiting := target{metrics: metrics.URL, stopped: os.Getpid()}
	if err := waiting.bringRedisBack(t.Context()); err != nil {
		t.Error(err)
	}
	if len(states) > 0 {
		t.Errorf("the wait ended before the metric for degraded had the values %q", states)
	}
}

func TestReadingBrokerReadsEachTime(t *testing.T) {
	requireRedis(t)
	err := with(t.Context(), roleRedis, task{}, func(redis redisServer) error {
		return with(t.Context(), roleReading, task{Redis: redis.Address}, func(reading endpoint) error {
			client, closeClient, err := dial(reading, 0)
			if err != nil {
				return err
			}
			defer func() { _ = closeClient() }()
			request := &authmaterialv1.GetAuthDecorationRequest{CredentialId: warmToken}
			if _, err := client.GetAuthDecoration(t.Context(), request); err != nil {
				return err
			}
			if err := stopProcess(redis.Process); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := client.GetAuthDecoration(ctx, request); err == nil {
				t.Error("a call was answered while Redis was stopped")
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}
