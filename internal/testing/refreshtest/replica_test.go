package refreshtest_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/processtest"
)

// These environment variables are set in the process of a replica only: the path of its configuration,
// its name, and the step at which it kills itself.
const (
	configVariable = "REFRESHTEST_CONFIG"
	nameVariable   = "REFRESHTEST_NAME"
	stepVariable   = "REFRESHTEST_STEP"

	listening = "listening at "
)

// A step is the moment in a refresh at which a replica is killed.
type step string

const (
	beforeRequest  step = "the refresh token is leased"
	beforeAnswer   step = "the request was sent"
	afterExchange  step = "the provider has replaced the refresh token"
	afterAnswer    step = "the answer has arrived"
	duringStorage  step = "the refresh token is being stored"
	afterStorage   step = "the refresh token is stored"
	atRandomMoment step = "the call begins"
)

var steps = []step{atRandomMoment, beforeRequest, beforeAnswer, afterExchange, afterAnswer, duringStorage, afterStorage}

// kill ends this process with SIGKILL.
func kill() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// killingTransport kills the process before or after a token request.
type killingTransport struct {
	http.RoundTripper

	at step
}

func (k killingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.at == beforeRequest {
		kill()
	}
	response, err := k.RoundTripper.RoundTrip(r)
	if k.at == afterAnswer {
		kill()
	}
	if k.at == duringStorage {
		time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, kill)
	}
	return response, err
}

// killingLog kills the process when a token was obtained, before a caller gets it.
type killingLog struct{ at step }

func (k killingLog) Handle(_ context.Context, record slog.Record) error {
	if k.at == afterStorage && record.Message == "token issued" {
		kill()
	}
	return nil
}

func (k killingLog) Enabled(context.Context, slog.Level) bool { return true }
func (k killingLog) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k killingLog) WithGroup(string) slog.Handler            { return k }

// serve serves until the process is killed.
func serve(t *testing.T) {
	loaded, err := config.Load(os.Getenv(configVariable), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := step(os.Getenv(stepVariable))
	s, err := server.New(server.Options{
		Config: loaded, Logger: slog.New(killingLog{at}), Version: os.Getenv(nameVariable),
		TokenTransport: killingTransport{http.DefaultTransport, at},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, listening+listener.Addr().String())
	t.Fatal(s.ServeGRPC(listener))
}

// replica is the process of a broker.
type replica struct {
	*processtest.Process

	name    string
	client  authmaterialv1.BrokerServiceClient
	version string // of the last decoration
}

func startReplica(t *testing.T, settings, name string, at step) *replica {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^TestReplica$", "-test.v")
	command.Env = append(os.Environ(), configVariable+"="+settings, nameVariable+"="+name, stepVariable+"="+string(at))
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = input, os.Stderr
	process, err := processtest.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	_ = input.Close() // the process has its own descriptor of the pipe
	t.Cleanup(process.Kill)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		_, address, found := strings.Cut(lines.Text(), listening)
		if !found {
			continue
		}
		go func() { // read on, so that the process never waits for the pipe
			for lines.Scan() {
			}
			_ = output.Close()
		}()
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return &replica{Process: process, name: name, client: authmaterialv1.NewBrokerServiceClient(conn)}
	}
	t.Fatalf("the replica %s ended in the state %v", name, process.State())
	return nil
}

// get returns the value of the header that the replica serves, and whether it is a new one.
func (r *replica) get(ctx context.Context) (value string, isNew bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answer, err := r.client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "c"})
	if err != nil {
		return "", false, err
	}
	isNew = answer.GetAuthDecoration().GetVersion() != r.version
	r.version = answer.GetAuthDecoration().GetVersion()
	return answer.GetAuthDecoration().GetHeaders()[0].GetValue(), isNew, nil
}
