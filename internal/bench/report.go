package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/authmaterial/broker/internal/redistest"
)

// printHead says what is measured, and where.
func printHead(out io.Writer, chosen settings) {
	settings := len(subjects)*len(chosen.callers) + len(chosen.credentials)
	if _, err := redistest.Find(); err == nil && chosen.redis {
		settings += (2 + longerRound) * len(chosen.callers)
	}
	if chosen.chain {
		settings += len(auditModes) * len(chosen.callers)
	}
	lasts := time.Duration(settings*(chosen.rounds+1)*2) * chosen.roundDuration
	fmt.Fprintf(out, `GetAuthDecoration of the broker beside a method that does nothing: on the same
server library, without interceptors, and with messages of the same sizes.

Machine: %d cores, %s/%s, %s. TCP on the loopback interface, one connection.
Broker, do-nothing server and load are a process each. The broker's server keeps
goroutines for calls; the other starts one for each, as grpc-go does by default.
The load shares the cores with either server alike, so its part is in both sides of
a ratio.
Pairs of rounds in each setting: %d, after one to warm up; a round lasts %s.
Each number is the median; a ratio is taken pair by pair. All takes about %s.
`,
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		chosen.rounds, chosen.roundDuration, lasts.Round(time.Second))
}

// lines are what the table of a setting shows.
var lines = []struct {
	name   string
	format string
	of     func(figures) float64
}{
	{"calls a second", "%.0f", func(f figures) float64 { return f.CallsPerSecond }},
	{"latency p50, µs", "%.0f", func(f figures) float64 { return f.P50 }},
	{"latency p99, µs", "%.0f", func(f figures) float64 { return f.P99 }},
	{"server: CPU a call, µs", "%.1f", func(f figures) float64 { return f.CPU }},
	{"server: allocations a call", "%.1f", func(f figures) float64 { return f.Allocations }},
	{"server: allocated a call, bytes", "%.0f", func(f figures) float64 { return f.AllocatedBytes }},
}

// printResult prints the table of a setting.
func printResult(out io.Writer, about subject, told task, measured result) error {
	noun := "callers"
	if told.Callers == 1 {
		noun = "caller"
	}
	fmt.Fprintf(out, "\n%s (%s), response of %d bytes, %d %s\n",
		about.credential, about.kind, measured.ResponseSize, told.Callers, noun)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%-32s\t%s\t%s\tratio\tmin–max\t\n", "", told.First.Name, told.Second.Name)
	for _, line := range lines {
		first := spreadOf(measured.Pairs, func(p pair) float64 { return line.of(p.First) })
		second := spreadOf(measured.Pairs, func(p pair) float64 { return line.of(p.Second) })
		ratio := spreadOf(measured.Pairs, func(p pair) float64 { return line.of(p.First) / line.of(p.Second) })
		fmt.Fprintf(table, "%-32s\t"+line.format+"\t"+line.format+"\t%.3f\t%.3f–%.3f\t\n",
			line.name, first.median, second.median, ratio.median, ratio.least, ratio.most)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if told.First.Audited {
		return printRecords(out, measured)
	}
	if told.First.Stopped != 0 {
		return printStops(out, measured)
	}
	return nil
}

// printStops says what the medians of rounds without Redis do not show.
func printStops(out io.Writer, measured result) error {
	degraded := 0
	for _, p := range measured.Pairs {
		if p.First.Degraded {
			degraded++
		}
	}
	longest := func(of func(pair) figures) float64 {
		return spreadOf(measured.Pairs, func(p pair) float64 { return of(p).Longest }).most / 1e3
	}
	_, err := fmt.Fprintf(out, "longest call: %.1f ms stopped, %.1f ms well; out of reach at the end of %d of %d stopped rounds\n",
		longest(func(p pair) figures { return p.First }), longest(func(p pair) figures { return p.Second }),
		degraded, len(measured.Pairs))
	return err
}
