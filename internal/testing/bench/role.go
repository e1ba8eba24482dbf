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

// role does the work of a process. It calls answer once, and returns when its work is
// done or ctx ends.
type role func(ctx context.Context, told task, answer func(any) error) error

var roles = map[string]role{
	roleBroker:    serveBroker,
	roleDoNothing: serveDoNothing,
	roleReading:   serveReading,
	roleRedis:     serveRedis,
	roleLoad:      load,
	roleWatch:     watch,
}

// task is what a process is told, as JSON on its standard input.
type task struct {
	// Credentials is how many credentials a broker has; 0: those that are simulated.
	Credentials int
	// Redis is the host:port where a broker's tokens lie; empty: in memory.
	Redis string
	// Certificates is the folder of what a server and its callers prove who they are with;
	// empty: they prove nothing, and nothing is encrypted.
	Certificates string
	// Audit is the mode of a broker's audit, which goes to a file beside the certificates;
	// empty: there is none.
	Audit string
	// Grants is how many grants a broker with Certificates has beside those of the load.
	Grants int
	// Credential is the ID of the credential to ask for. With IDs it is a prefix: there are so
	// many, of which each call asks for one at random.
	Credential string
	IDs        int
	// Batch is how many IDs each batch has; 0: GetAuthDecoration is called.
	Batch int
	// Broker is the server whose response a do-nothing server repeats.
	Broker endpoint
	// Equal says that a do-nothing server has the broker's transport options.
	Equal bool
	// Sides are what the load compares.
	Sides []side
	// Callers is how many callers there are at once. They share Connections, which use
	// Identities client certificates.
	Callers, Connections, Identities int
	// Rounds is how many rounds count.
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

// batchRequest returns the load's request for a batch; nil: it makes none.
func (t task) batchRequest() *authmaterialv1.BatchGetAuthDecorationsRequest {
	if t.Batch == 0 {
		return nil
	}
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{t.Credential}, t.Batch)}
}

// side is one of the servers that are compared.
type side struct {
	// Name is the head of its column.
	Name string
	At   endpoint
	// Stopped is the ID of the Redis process that is stopped during the side's rounds; 0:
	// none is.
	Stopped int
	// Audited says that the side writes audit records.
	Audited bool
}

// endpoint is where a server process answers.
type endpoint struct {
	// GRPC is the address for the load.
	GRPC string
	// Metrics is the URL of what the process used, and Process its process ID.
	Metrics string
	Process int
	// Change is the URL with which watchers are sent a change; empty: there is none.
	Change string
	// Certificates is the folder of what the load proves who it is with; empty: nothing is
	// encrypted.
	Certificates string
	// Footprint is what the configuration costs. Of brokers alone.
	Footprint footprint
}

// obey plays a role until it is done, or standard input ends. That also happens when
// the process that started this one is no more.
func obey(ctx context.Context, play role, stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(os.Interrupt) // a terminal sends it to all processes; the first one decides
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
		return nil // what was cut short is no failure
	}
	return err
}
