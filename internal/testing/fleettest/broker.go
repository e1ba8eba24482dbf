package fleettest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/logtest"
	"github.com/authmaterial/broker/internal/testing/processtest"
)

// connections is the number of connections that a broker's callers share.
const connections = 4

// Broker is one replica of the fleet, whose files and sockets are kept when its process restarts.
type Broker struct {
	// Name identifies the broker in test output, for example "broker-0".
	Name string

	t       testing.TB
	fleet   *Fleet
	number  int
	folder  string
	process *processtest.Process
	log     logtest.Log // output of all of the broker's processes
	clock   *clockShift

	connections []*grpc.ClientConn
	http        *http.Client
}

func (f *Fleet) newBroker(number int) *Broker {
	f.t.Helper()
	b := &Broker{Name: fmt.Sprintf("broker-%d", number), t: f.t, fleet: f, number: number}
	b.folder = filepath.Join(f.folder, b.Name)
	if err := os.Mkdir(b.folder, 0o700); err != nil {
		f.t.Fatal(err)
	}
	b.clock = b.newClockShift()
	b.Configure()
	for range connections {
		b.connections = append(b.connections, b.connect())
	}
	b.http = b.httpClient()
	f.t.Cleanup(func() {
		for _, c := range b.connections {
			_ = c.Close()
		}
		b.http.CloseIdleConnections()
		b.Kill()
	})
	return b
}

func (b *Broker) connect() *grpc.ClientConn {
	b.t.Helper()
	connection, err := grpc.NewClient("unix://"+filepath.Join(b.folder, grpcSocket),
		grpc.WithTransportCredentials(insecure.NewCredentials()), soonAgain())
	if err != nil {
		b.t.Fatal(err)
	}
	return connection
}

// soonAgain shortens the time between a client's connection attempts, which is not under test.
func soonAgain() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: time.Second}})
}

// Start starts the broker, with additional environment variables (NAME=value), and returns when it
// answers calls.
func (b *Broker) Start(environment ...string) {
	b.t.Helper()
	b.launch(environment...)
	b.awaitServing()
}

func (b *Broker) launch(environment ...string) {
	b.t.Helper()
	path, err := program()
	if err != nil {
		b.t.Fatal(err)
	}
	command := exec.CommandContext(context.Background(), path, "serve", "--log-format", "json",
		"--config", filepath.Join(b.folder, configurationFile))
	command.Dir, command.Stderr = b.folder, &b.log
	command.Env = append([]string{
		FleetKeyVariable + "=" + b.fleet.key, "GORACE=atexit_sleep_ms=0", clockVariable + "=" + filepath.Join(b.folder, clockFile),
	}, environment...)
	if b.process, err = processtest.Start(command); err != nil {
		b.t.Fatal(err)
	}
}

// awaitServing waits until the broker answers on all connections of its callers.
func (b *Broker) awaitServing() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	ended := b.process.Ended()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	for _, connection := range b.connections {
		if err := health(ctx, connection, grpc.WaitForReady(true)); err != nil {
			b.t.Fatalf("%s does not answer calls: %v\n%s", b.Name, err, &b.log)
		}
	}
}

// `health` returns an error unless the broker's health service reports that it serves calls.
func health(ctx context.Context, connection *grpc.ClientConn, options ...grpc.CallOption) error {
	answer, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: authmaterialv1.BrokerService_ServiceDesc.ServiceName,
	}, options...)
	if err != nil {
		return err
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("the gRPC health status is %v", answer.GetStatus())
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it has ended.
func (b *Broker) Kill() {
	if b.process != nil {
		b.process.Kill()
	}
}

// Terminate ends the process with SIGTERM and waits until it has ended. If the exit status is not
// 0, the test fails.
func (b *Broker) Terminate() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	select {
	case <-b.process.Ended():
	case <-time.After(Patience):
		b.t.Fatalf("%s did not end after SIGTERM", b.Name)
	}
	if !b.process.State().Success() {
		b.t.Fatalf("%s ended with %v, want exit status 0", b.Name, b.process.State())
	}
}

// Stop suspends the process with SIGSTOP. A suspended broker does not answer calls.
func (b *Broker) Stop() {
	b.t.Helper()
	if err := b.process.Stop(); err != nil {
		b.t.Fatalf("stop %s: %v", b.Name, err)
	}
}

// Continue resumes a suspended process.
func (b *Broker) Continue() {
	b.t.Helper()
	b.Signal(syscall.SIGCONT)
}

// Signal sends a signal to the process.
func (b *Broker) Signal(signal syscall.Signal) {
	b.t.Helper()
	if err := b.process.Signal(signal); err != nil {
		b.t.Fatalf("sending the signal %v to %s failed: %v", signal, b.Name, err)
	}
}

func (b *Broker) running() bool { return b.process != nil && b.process.Runs() }

// Client returns a gRPC client of the broker for the caller with the given number. All callers
// share a few connections.
func (b *Broker) Client(caller int) authmaterialv1.BrokerServiceClient {
	return authmaterialv1.NewBrokerServiceClient(b.connections[caller%len(b.connections)])
}

// Manager returns a gRPC client for the managed credentials of the broker.
func (b *Broker) Manager(caller int) authmaterialv1.CredentialServiceClient {
	return authmaterialv1.NewCredentialServiceClient(b.connections[caller%len(b.connections)])
}

// LogLines returns how many log lines of all of the broker's processes contain a message.
func (b *Broker) LogLines(message string) int { return b.log.Count(fmt.Sprintf(`"msg":%q`, message)) }
