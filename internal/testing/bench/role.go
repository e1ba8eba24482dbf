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

const (
	roleBroker    = "broker"
	roleDoNothing = "do-nothing"
	roleReading   = "reading"
	roleRedis     = "redis"
	rolePostgres  = "postgres"
	roleLoad      = "load"
	roleWatch     = "watch"
)

// A role is the work of one process of the benchmark: to run a server, or to be the load generator.
// The function calls `answer` once, to send its result to the parent process. The function returns
// when the work is done or ctx ends.
type role func(ctx context.Context, told task, answer func(any) error) error

var roles = map[string]role{
	roleBroker:    serveBroker,
	roleDoNothing: serveDoNothing,
	roleReading:   serveReading,
	roleRedis:     serveRedis,
	rolePostgres:  servePostgres,
	roleLoad:      load,
	roleWatch:     watch,
}

// task is the input of a process, as JSON on its standard input.
type task struct {
	// Credentials is how large the configuration is: its bulk credentials have the numbers from
	// simulatedCredentials to Credentials-1.
	Credentials int
	// Redis is the host:port of the broker's Redis, or empty if tokens are kept in memory.
	Redis string
	// Store is the URL of the broker's credential store, and StoreKey its key. If Store is empty, the
	// broker has no store, and the configuration declares the credential storedKey.
	Store, StoreKey string
	// Console makes the broker serve the console.
	Console bool
	// Certificates is the folder with the certificates of servers and callers. If Certificates is
	// empty, servers use neither TLS nor authentication.
	Certificates string
	// Audit is the broker's audit mode, or empty. The audit file is in the folder of certificates.
	Audit string
	// Grants is the number of grants in addition to the usual ones.
	Grants int
	// Credential is the ID that the load generator requests. If IDs is not 0, there are that many
	// IDs, which consist of Credential and a number, and each call requests a random one of them.
	Credential string
	IDs        int
	// Batch is the number of IDs in a batch, or 0 for calls of GetAuthDecoration.
	Batch int
	// Broker is the server whose response a do-nothing server repeats.
	Broker endpoint
	// Equal makes a do-nothing server use the broker's transport options.
	Equal bool
	Sides []side
	// Callers is the number of concurrent callers. Connections is the number of connections that
	// the callers share, and Identities the number of client certificates of these connections.
	Callers, Connections, Identities int
	// Rounds is the number of measured rounds, without the one that warms up the servers.
	Rounds int
	// RoundDuration is how long the load generator calls each server in a round.
	RoundDuration time.Duration
}

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

// batchRequest returns the request that the load generator sends in each call, or nil if the calls
// are not batches.
func (t task) batchRequest() *authmaterialv1.BatchGetAuthDecorationsRequest {
	if t.Batch == 0 {
		return nil
	}
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{t.Credential}, t.Batch)}
}

type side struct {
	// Name is the title of the server's column in the table.
	Name string
	At   endpoint
	// Stopped is the ID of the Redis process that is suspended while the server is measured, or 0.
	Stopped int
	// Audited is true if the server writes audit records.
	Audited bool
}

type endpoint struct {
	GRPC string
	// Metrics is the URL of the metrics of the process.
	Metrics string
	Process int
	// At each request to the URL Change, the server sends a change to all watchers. Change may be
	// empty.
	Change string
	// Certificates is the folder with the certificates of the load generator, or empty if the
	// server does not use TLS.
	Certificates string
	// SignIn is a sign-in link of the console, or empty if the server has no console.
	SignIn string
	// Footprint contains the times and the memory that a broker needs for its configuration.
	Footprint footprint
}

// obey reads a task from standard input and runs a role. obey returns when the role's work is done
// or standard input ends, as it does when the parent process ends.
func obey(ctx context.Context, play role, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(os.Interrupt) // the first process handles an interrupt from the terminal, which reaches all processes
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
