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

// role is the work of a process. A role sends its result to its parent once, with the function
// `answer`. It returns when its work is done or ctx ends.
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
	// Credentials is the number of credentials in the broker. 0 means only the simulated
	// credentials.
	Credentials int
	// Redis is the host:port of the Redis in which the broker stores tokens. If it is empty, the
	// broker keeps tokens in memory.
	Redis string
	// Certificates is the folder with the certificates of servers and callers. If it is empty,
	// there is neither TLS nor authentication.
	Certificates string
	// Audit is the broker's audit mode. The audit file is in the folder of certificates. If the
	// mode is empty, there is no audit.
	Audit string
	// Grants is the number of grants that a broker with certificates has in addition to its
	// usual grants.
	Grants int
	// Credential is the ID that the load asks for. If the field `IDs` is not 0, Credential is
	// the beginning of that number of IDs, and each call asks for a random one of these IDs.
	Credential string
	IDs        int
	// Batch is the number of IDs in each batch. If it is 0, the load calls GetAuthDecoration.
	Batch int
	// Broker is the server whose response a do-nothing server repeats in every call.
	Broker endpoint
	// Equal makes a do-nothing server use the broker's transport options.
	Equal bool
	// Sides are the servers that the load compares.
	Sides []side
	// Callers is the number of concurrent callers. They share Connections connections, which use
	// as many different client certificates as Identities says.
	Callers, Connections, Identities int
	// Rounds is the number of measured rounds. The round that warms up the servers is not
	// counted.
	Rounds int
	// RoundDuration is how long the load calls each side in a round.
	RoundDuration time.Duration
}

// ids returns the IDs of the credentials that the load asks for.
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
	// Name is the title of the server's column in the table.
	Name string
	At   endpoint
	// Stopped is the ID of the Redis process that is suspended while this side is measured. 0
	// means that no process is suspended.
	Stopped int
	// Audited is true if the server of this side writes audit records.
	Audited bool
}

// endpoint describes a running server process.
type endpoint struct {
	// GRPC is the address of the process's gRPC server.
	GRPC string
	// Metrics is the URL of the metrics of the process. Process is the process ID.
	Metrics string
	Process int
	// Change is a URL. Each request to this URL makes the server send a change to all watchers.
	// If it is empty, the server has no such URL.
	Change string
	// Certificates is the folder with the load's certificates. If it is empty, the server does
	// not use TLS.
	Certificates string
	// Footprint is the time and memory that the configuration costs. Only brokers set this
	// field.
	Footprint footprint
}

// obey reads a task from standard input and runs a role. It returns when the role's work is done
// or standard input ends. Standard input also ends when the parent process ends.
func obey(ctx context.Context, play role, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(os.Interrupt) // an interrupt from a terminal reaches all processes; only the first process handles it
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
		return nil // an interrupt is not a failure
	}
	return err
}
