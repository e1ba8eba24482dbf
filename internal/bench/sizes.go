package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// footprint is what a configuration costs a broker process.
type footprint struct {
	// StartUp is from the file's text to a server that is ready to listen.
	StartUp time.Duration
	// Reload is from the text, with one secret changed, to the new one being served.
	Reload time.Duration
	// Heap is what is in use after a garbage collection, in bytes.
	Heap uint64
}

// simulatedCredentials is how many the simulated configuration has.
const simulatedCredentials = 5

// configOf is the simulated configuration with more credentials, up to so many; last is
// the secret of the last one.
func configOf(credentials int, last string) []byte {
	text := bytes.NewBuffer(bytes.Clone(simulated.Config))
	for i := simulatedCredentials; i < credentials; i++ {
		secret := fmt.Sprintf("key-%d", i)
		if i == credentials-1 {
			secret = last
		}
		fmt.Fprintf(text, "  - id: more-%d\n    provider: pendo\n    auth_method: api_key\n    values:\n      api_key: {value: %s}\n", i, secret)
	}
	return text.Bytes()
}

// startBroker makes a server for so many credentials, and measures what that takes.
func startBroker(credentials int, sim *simulator.Simulator, options server.Options) (*server.Server, footprint, error) {
	var cost footprint
	load := func(last string) func() (*config.Config, error) {
		text := configOf(credentials, last)
		return func() (*config.Config, error) {
			return config.Parse("bench.yaml", text, config.Options{LookupEnv: simulated.Environment(sim)})
		}
	}
	first, second := load("first"), load("second")
	began := time.Now()
	loaded, err := first()
	if err != nil {
		return nil, cost, err
	}
	options.Config = loaded
	broker, err := server.New(options)
	if err != nil {
		return nil, cost, err
	}
	cost.StartUp = time.Since(began)
	began = time.Now()
	if err := broker.Reload(second); err != nil {
		return nil, cost, err
	}
	cost.Reload = time.Since(began)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	cost.Heap = memory.HeapAlloc
	return broker, cost, nil
}

// measureSizes prints what configurations of several sizes cost, and what a warm call
// costs with each.
func measureSizes(ctx context.Context, chosen settings, out io.Writer) error {
	fmt.Fprintf(out, "\nThe size of the configuration: a warm call of %s with 64 callers\n", subjects[0].credential)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "credentials\tstart-up, ms\treload of one change, ms\theap, MB\tcalls a second, ratio\tmin–max\t")
	for _, credentials := range chosen.credentials {
		told := task{Credentials: credentials}
		err := with(ctx, roleBroker, told, func(broker endpoint) error {
			return measureSize(ctx, chosen, credentials, broker, table)
		})
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// measureSize prints the row of one size.
func measureSize(ctx context.Context, chosen settings, credentials int, broker endpoint, table io.Writer) error {
	told := task{
		Credential:    subjects[0].credential,
		Broker:        broker,
		Rounds:        chosen.rounds,
		RoundDuration: chosen.roundDuration,
		Callers:       64,
	}
	return with(ctx, roleDoNothing, told, func(nothing endpoint) error {
		told.DoNothing = nothing
		return with(ctx, roleLoad, told, func(measured result) error {
			ratio := spreadOf(measured.Pairs, func(p pair) float64 { return p.Broker.CallsPerSecond / p.DoNothing.CallsPerSecond })
			cost := broker.Footprint
			_, err := fmt.Fprintf(table, "%d\t%d\t%d\t%.1f\t%.3f\t%.3f–%.3f\t\n", credentials,
				cost.StartUp.Milliseconds(), cost.Reload.Milliseconds(), float64(cost.Heap)/1e6, ratio.median, ratio.least, ratio.most)
			return err
		})
	})
}
