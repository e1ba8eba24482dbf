package fleettest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// connections is how many a broker's callers share.
const connections = 4

// Broker is one replica: a process, and the files and sockets that stay when it is
// started again.
type Broker struct {
	// Name is the broker's in the output of a test: "broker-0".
	Name string

	t       testing.TB
	fleet   *Fleet
	number  int
	folder  string
	process *process
	log     transcript // of all its processes

	connections []*grpc.ClientConn
	http        *http.Client
}

// newBroker returns a broker that does not run yet.
func (f *Fleet) newBroker(number int) *Broker {
	f.t.Helper()
	b := &Broker{Name: fmt.Sprintf("broker-%d", number), t: f.t, fleet: f, number: number}
	b.folder = filepath.Join(f.folder, b.Name)
	if err := os.Mkdir(b.folder, 0o700); err != nil {
		f.t.Fatal(err)
	}
	b.writeConfiguration()
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
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The wait between attempts to connect is no part of what is tested.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: time.Second}}))
	if err != nil {
		b.t.Fatal(err)
	}
	return connection
}

// Start starts the broker, with more environment variables (NAME=value) than the fleet's,
// and returns when it serves.
func (b *Broker) Start(environment ...string) {
	b.t.Helper()
	b.launch(environment...)
	b.awaitServing()
}

// launch starts the process.
func (b *Broker) launch(environment ...string) {
	b.t.Helper()
	path, err := program()
	if err != nil {
		b.t.Fatal(err)
	}
	command := exec.CommandContext(context.Background(), path, "serve", "--log-format", "json",
		"--config", filepath.Join(b.folder, configurationFile))
	command.Dir, command.Stderr = b.folder, &b.log
	command.Env = append([]string{FleetKeyVariable + "=" + b.fleet.key, "GORACE=atexit_sleep_ms=0"}, environment...)
	if b.process, err = startProcess(command); err != nil {
		b.t.Fatal(err)
	}
}

// awaitServing waits until every connection reaches a broker that serves.
func (b *Broker) awaitServing() {
	b.t.Helper()
	for started, changed := b.log.state(); !strings.Contains(started, `"msg":"serving"`); started, changed = b.log.state() {
		select {
		case <-changed:
		case <-b.process.ended:
			b.t.Fatalf("%s ended at its start:\n%s", b.Name, &b.log)
		case <-time.After(Patience):
			b.t.Fatalf("%s does not serve:\n%s", b.Name, &b.log)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, connection := range b.connections {
		if err := health(ctx, connection, grpc.WaitForReady(true)); err != nil {
			b.t.Fatalf("%s: %v", b.Name, err)
		}
	}
}

// health returns an error unless the broker says that it serves.
func health(ctx context.Context, connection *grpc.ClientConn, options ...grpc.CallOption) error {
	answer, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: authmaterialv1.BrokerService_ServiceDesc.ServiceName,
	}, options...)
	if err != nil {
		return err
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("its health is %v", answer.GetStatus())
	}
	return nil
}

// Kill ends the process with SIGKILL, and waits for its end.
func (b *Broker) Kill() {
	if b.process != nil {
		_ = b.process.command.Process.Kill() // it may have ended
		<-b.process.ended
	}
}

// Terminate ends the process with SIGTERM, and waits for its end, which must be a good
// one.
func (b *Broker) Terminate() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	select {
	case <-b.process.ended:
	case <-time.After(Patience):
		b.t.Fatalf("%s does not end", b.Name)
	}
	if state := b.process.command.ProcessState; !state.Success() {
		b.t.Fatalf("%s ended with %v", b.Name, state)
	}
}

// Signal sends a signal to the process. SIGSTOP takes effect soon after.
func (b *Broker) Signal(signal syscall.Signal) {
	b.t.Helper()
	if err := b.process.command.Process.Signal(signal); err != nil {
		b.t.Fatalf("%v to %s: %v", signal, b.Name, err)
	}
}

func (b *Broker) running() bool { return b.process != nil && !b.process.hasEnded() }

// Client returns a client of the broker. Callers with different numbers spread over a few
// connections.
func (b *Broker) Client(caller int) authmaterialv1.BrokerServiceClient {
	return authmaterialv1.NewBrokerServiceClient(b.connections[caller%len(b.connections)])
}

// LogLines returns how many lines of the log, of all its processes, have a message.
func (b *Broker) LogLines(message string) int {
	b.t.Helper()
	count := 0
	for text := range strings.Lines(b.log.String()) {
		var line struct{ Msg string }
		if strings.HasSuffix(text, "\n") && json.Unmarshal([]byte(text), &line) == nil && line.Msg == message {
			count++
		}
	}
	return count
}
