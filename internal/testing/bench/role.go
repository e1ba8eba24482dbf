package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The roles of the processes that this program starts.
const (
	roleBroker    = "broker"
	roleDoNothing = "do-nothing"
	roleReading   = "reading"
	roleRedis     = "redis"
	roleLoad      = "load"
	roleWatch     = "watch"
)

// role is the work of a process. A role calls answer once, and returns when its work is done or
// ctx ends.
type role func(ctx context.Context, told task, answer func(any) error) error

var roles = map[string]role{
	roleBroker:    serveBroker,
	roleDoNothing: serveDoNothing,
	roleReading:   serveReading,
	roleRedis:     serveRedis,
	roleLoad:      load,
	roleWatch:     watch,
}

// task is the input of a process, as JSON on its standard input.
type task struct {
	// Credentials is the number of credentials in the broker; 0: only the simulated ones.
	Credentials int
	// Redis is the host:port of the Redis in which the broker stores tokens; empty: the broker
	// keeps tokens in memory.
	Redis string
	// Certificates is the folder with the certificates of servers and callers; empty: no TLS and
	// no authentication.
	Certificates string
	// Audit is the broker's audit mode; the audit file is in the folder Certificates. Empty: no
	// audit.
	Audit string
	// Grants is the number of grants in a broker with Certificates, in addition to the grants
	// that it always has.
	Grants int
	// Credential is the ID that the load asks for. If IDs is not 0, Credential is the beginning
	// of that number of IDs, and each call asks for a random one of them.
	Credential string
	IDs        int
	// Batch is the number of IDs in each batch; 0: the load calls GetAuthDecoration.
	Batch int
	// Broker is the server whose response a do-nothing server repeats.
	Broker endpoint
	// Equal makes a do-nothing server use the broker's transport options.
	Equal bool
	// Sides are the servers that the load compares.
	Sides []side
	// Callers is the number of concurrent callers. They share that number of Connections, which
	// use that number of different client certificates (Identities).
	Callers, Connections, Identities int
	// Rounds is the number of measured rounds, without the round to warm up.
	Rounds int
	// RoundDuration is how long each side is called in a round.
	RoundDuration time.Duration
}

// ids returns the credentials that the load asks for.
func (t task) ids() []string {
	if t.IDs == 0 {
		return []string{t.Credential}
	}
	ids := make([]string, t.IDs)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%d", t.Credential, i+simulatedCredentials)
	}
	return ids
}

// batchRequest returns the load's request for a batch, or nil if the load requests no batches.
func (t task) batchRequest() *authmaterialv1.BatchGetAuthDecorationsRequest {
	if t.Batch == 0 {
		return nil
	}
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{t.Credential}, t.Batch)}
}

// side is one of the servers that a comparison measures.
type side struct {
	// Name is the title of the server's column in the printed table.
	Name string
	At   endpoint
	// Stopped is the ID of the Redis process that is suspended during the side's rounds; 0:
	// none.
	Stopped int
	// Audited reports that the side writes audit records.
	Audited bool
}

// endpoint describes a running server process.
type endpoint struct {
	// GRPC is the address of the process's gRPC server.
	GRPC string
	// Metrics is the URL of the process's metrics. Process is the ID of the process.
	Metrics string
	Process int
	// Change is a URL; each request to it makes the server send a change to all watchers. Empty:
	// the server has no such URL.
	Change string
	// Certificates is the folder with the load's certificates; empty: no TLS.
	Certificates string
	// Footprint is the time and memory that the configuration costs. Brokers only.
	Footprint footprint
}

// obey reads a task from standard input and runs a role, until its work is done or standard
// input ends. Standard input also ends when the parent process ends.
func obey(ctx context.Context, play role, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(os.Interrupt) // a terminal sends the signal to all processes; only the first process handles it
	orders := json.NewDecoder(stdin)
	var told task
	if err := orders.Decode(&told); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		_, _ = io.Copy(io.Discard, stdin)
	}()
	err := play(ctx, told, json.NewEncoder(stdout).Encode)
	if ctx.Err() != nil {
		return nil // being interrupted is not a failure
	}
	return err
}
