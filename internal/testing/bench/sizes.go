package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

type footprint struct {
	// StartUp is the time to parse the configuration file and create a server that is ready to
	// listen.
	StartUp time.Duration
	// Reload is the time from reading the file again, with one changed secret, until the broker
	// serves the secret. Reload and Heap are not measured for a broker with a credential store.
	Reload time.Duration
	// Heap is the memory in use after a garbage collection, in bytes.
	Heap uint64
}

// startBroker creates a broker's server for a task, and measures its footprint. Each call of
// `reload` changes the secret of the last credential.
func startBroker(told task, sim *simulator.Simulator, options server.Options) (broker *server.Server, cost footprint, reload func() error, err error) {
	load := loader(told, sim)
	first, second := load("first"), load("second")
	began := time.Now()
	loaded, err := first()
	if err != nil {
		return nil, cost, nil, err
	}
	options.Config = loaded
	broker, err = server.New(options)
	if err != nil {
		return nil, cost, nil, err
	}
	cost.StartUp = time.Since(began)
	changed := told.Store == ""
	if changed { // a broker may still be reading its store
		if err := cost.measureReload(broker, second); err != nil {
			return nil, cost, nil, err
		}
	}
	return broker, cost, func() error {
		next := second
		if changed {
			next = first
		}
		changed = !changed
		return broker.Reload(next)
	}, nil
}

func (f *footprint) measureReload(broker *server.Server, load func() (*config.Config, error)) error {
	began := time.Now()
	if err := broker.Reload(load); err != nil {
		return err
	}
	f.Reload = time.Since(began)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	f.Heap = memory.HeapAlloc
	return nil
}

func measureSizes(ctx context.Context, chosen options, out io.Writer) error {
	fmt.Fprintf(out, "\nHow the size of the configuration affects warm calls of %s with 64 callers\n", staticKey)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "credentials\tstart-up, ms\treload after one change, ms\theap, MB\tratio of calls per second\tmin–max\t")
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

func measureSize(ctx context.Context, chosen options, credentials int, broker endpoint, table io.Writer) error {
	told := setting{callers: 64, connections: 1, credential: staticKey}.task(chosen)
	told.Broker, told.Sides = broker, []side{{Name: "broker", At: broker}}
	return withDoNothing(ctx, &told, []doNothingServer{{"do-nothing", false}}, func() error {
		return with(ctx, roleLoad, told, func(measured result) error {
			ratio := spreadOf(measured.Rounds, func(r round) float64 { return r[0].CallsPerSecond / r[1].CallsPerSecond })
			cost := broker.Footprint
			_, err := fmt.Fprintf(table, "%d\t%d\t%d\t%.1f\t%.3f\t%.3f–%.3f\t\n", credentials,
				cost.StartUp.Milliseconds(), cost.Reload.Milliseconds(), float64(cost.Heap)/1e6, ratio.median, ratio.least, ratio.most)
			return err
		})
	})
}
