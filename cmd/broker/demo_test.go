package main

import (
	"context"
	"net/http"
	"regexp"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// demoServes matches the line that the demo prints when it serves, demoLink the
// link to its console, and demoCall the URL of the simulated SendPulse. portTaken matches the error of
// the demo if another process uses one of its ports.
var (
	demoServes = regexp.MustCompile(`(?m)^Serving on (\S+); metrics on (\S+)\. Ctrl-C stops\.$`)
	demoLink   = regexp.MustCompile(`(?m)^  (http://127\.0\.0\.1:8081/sign-in\?code=\S+)$`)
	demoCall   = regexp.MustCompile(`(?m)^  \.bin/broker curl sendpulse-oauth -- -sS (http://127\.0\.0\.1:\d+/user/info)$`)
	portTaken  = regexp.MustCompile(`^listen on 127\.0\.0\.1:(50051|9464|8081): .*address already in use\n  Stop the process that listens there, such as another 'make run' or broker\.\n$`)
)

// TestDemoStays runs the demo twice on its fixed ports: the second demo must report that they are
// taken. If another process already uses one of the ports, the first demo must report that.
func TestDemoStays(t *testing.T) {
	first := startDemo(t)
	printed, err := first.await(&first.stdout, demoServes)
	if err != nil {
		wantTaken(t, first)
		t.Log("one of the ports is taken, as the demo reports")
		return
	}
	if printed[1] != "127.0.0.1:50051" || printed[2] != "http://127.0.0.1:9464/metrics" {
		t.Fatalf("the demo printed the wrong addresses: %s", printed[0])
	}
	wantServing(t, printed[1], printed[2])
	link, err := first.await(&first.stdout, demoLink)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(link[1]) //nolint:noctx // the demo is a local process
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Errorf("the link to the console is answered %s", response.Status)
	}
	call, err := first.await(&first.stdout, demoCall)
	if err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, printed[1], call[1])
	wantTaken(t, startDemo(t))
	wantServing(t, printed[1], printed[2])
	if err := first.command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if how, err := first.wait(); how != "exit 0" || first.stderr.String() != "" {
		t.Errorf("after SIGINT the demo ended with %q (%v), want exit 0\n%s", how, err, first.stderr.String())
	}
}

// wantAccepted calls the simulated SendPulse as a program with the client does.
func wantAccepted(t *testing.T, address, url string) {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // the test ends
	amb := client.New(connection)
	defer amb.Close()
	response, err := amb.HTTPClient("sendpulse-oauth").Get(url) //nolint:noctx // the demo is a local process
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Errorf("the simulated SendPulse answers %s", response.Status)
	}
}

func startDemo(t *testing.T) *process {
	t.Helper()
	p, err := startProcess("", nil, "broker", "demo", "--stay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func wantTaken(t *testing.T, p *process) {
	t.Helper()
	how, err := p.wait()
	if how != "exit 1" || !portTaken.MatchString(p.stderr.String()) || p.stdout.String() != "" {
		t.Fatalf("the demo ended with %q (%v), want exit 1 and an error about the port that is taken\n%s%s", how, err, p.stdout.String(), p.stderr.String())
	}
}

func wantServing(t *testing.T, address, metrics string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // an error of Close does not matter, because the response was already read
	_, err = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(ctx,
		&authmaterialv1.GetAuthDecorationRequest{CredentialId: "sendpulse-oauth"})
	if err != nil {
		t.Errorf("the broker does not answer: %v", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/metrics answers %s", response.Status)
	}
}
