package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

func printHead(out io.Writer, chosen options) {
	fmt.Fprintf(out, `The broker beside a method that does nothing: on the same server library, without
interceptors, with the same TLS and messages of the same sizes. "do-nothing" has
grpc-go's defaults, "equal options" the broker's transport options. The control is a
second server with the defaults: A/A is its ratio to the first.

Machine: %d cores, %s/%s, %s. TCP on the loopback interface.
Each server is a process, and so is the load generator. All of them share the cores.
Rounds: %d for each comparison, of %s a server, in rotated order, after one to warm up.
Numbers are medians; a ratio is taken round by round. A goal counts as met within the
spread of A/A: the half of its rounds that is nearest to the median.
`,
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), chosen.rounds, chosen.roundDuration)
}

// quantity is a measured number, which has one row in a table.
type quantity struct {
	name   string
	format string
	of     func(figures) float64
}

var (
	cpu   = quantity{"CPU per call, µs", "%.1f", func(f figures) float64 { return f.CPU }}
	calls = quantity{"calls per second", "%.0f", func(f figures) float64 { return f.CallsPerSecond }}
	p99   = quantity{"latency p99, µs", "%.0f", func(f figures) float64 { return f.P99 }}

	quantities = []quantity{
		cpu, calls, p99,
		{"latency p50, µs", "%.0f", func(f figures) float64 { return f.P50 }},
		{"allocations per call", "%.1f", func(f figures) float64 { return f.Allocations }},
		{"bytes allocated per call", "%.0f", func(f figures) float64 { return f.AllocatedBytes }},
	}
)

// ratio returns the distribution, over all rounds, of the quantity of the server `of` divided by
// that of the server `to`.
func (q quantity) ratio(rounds []round, of, to int) spread {
	return spreadOf(rounds, func(r round) float64 { return q.of(r[of]) / q.of(r[to]) })
}

// printTable prints the figures of each server, and the ratios of the first server to the others.
func printTable(out io.Writer, title string, sides []side, measured result) error {
	fmt.Fprintf(out, "\n%s, response of %d bytes\n", title, measured.ResponseSize)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	var heads []string
	for _, s := range sides {
		heads = append(heads, s.Name)
	}
	for _, s := range sides[1:] {
		heads = append(heads, "to "+s.Name)
	}
	fmt.Fprintf(table, "\t%s\t\n", strings.Join(heads, "\t"))
	for _, q := range quantities {
		fmt.Fprint(table, q.name)
		for i := range sides {
			fmt.Fprintf(table, "\t"+q.format, spreadOf(measured.Rounds, func(r round) float64 { return q.of(r[i]) }).median)
		}
		for i := range sides[1:] {
			ratio := q.ratio(measured.Rounds, 0, i+1)
			fmt.Fprintf(table, "\t%.2f (%.2f–%.2f)", ratio.median, ratio.least, ratio.most)
		}
		fmt.Fprintln(table, "\t")
	}
	return table.Flush()
}

func printSetting(out io.Writer, s setting, measured result) error {
	sides := []side{{Name: "broker"}, {Name: "do-nothing"}, {Name: "equal options"}}
	var three result
	three.ResponseSize = measured.ResponseSize
	for _, r := range measured.Rounds {
		three.Rounds = append(three.Rounds, r[:sideControl])
	}
	if err := printTable(out, s.name(), sides, three); err != nil {
		return err
	}
	fmt.Fprint(out, "A/A:")
	for _, q := range []quantity{cpu, calls, p99} {
		control := q.ratio(measured.Rounds, sideControl, sideDefaults)
		fmt.Fprintf(out, " %s %.2f (%.2f–%.2f);", q.name, control.median, control.lower, control.upper)
	}
	fmt.Fprintln(out)
	if s.audit != "" {
		printRecords(out, measured)
	}
	for _, verdict := range s.goal.verdicts(measured.Rounds) {
		fmt.Fprintln(out, verdict)
	}
	return nil
}

// verdicts returns one line for each goal, with the measured value and whether the goal is met.
func (g goal) verdicts(rounds []round) []string {
	var all []string
	judge := func(q quantity, to int, name string, bound float64, least bool) {
		if bound == 0 {
			return
		}
		control := q.ratio(rounds, sideControl, sideDefaults)
		got := q.ratio(rounds, sideBroker, to).median
		sign, met := "≤", got <= bound+control.upper-control.median
		if least {
			sign, met = "≥", got >= bound-(control.median-control.lower)
		}
		verdict := "met"
		if !met {
			verdict = "MISSED"
		}
		all = append(all, fmt.Sprintf("goal: the ratio of %s to %s is %s %.2f; measured ratio %.2f: %s", q.name, name, sign, bound, got, verdict))
	}
	judge(calls, sideDefaults, "do-nothing", g.calls, true)
	judge(calls, sideEqual, "equal options", g.callsEqual, true)
	judge(cpu, sideDefaults, "do-nothing", g.cpu, false)
	judge(cpu, sideEqual, "equal options", g.cpuEqual, false)
	judge(p99, sideDefaults, "do-nothing", g.p99, false)
	return all
}

func printRecords(out io.Writer, measured result) {
	written := spreadOf(measured.Rounds, func(r round) float64 { return r[sideBroker].Written })
	dropped := spreadOf(measured.Rounds, func(r round) float64 { return r[sideBroker].Dropped })
	fmt.Fprintf(out, "audit records per call: %.3f written (%.3f–%.3f), %.3f dropped (%.3f–%.3f)\n",
		written.median, written.least, written.most, dropped.median, dropped.least, dropped.most)
}

// printStops prints the longest calls with and without Redis, which the medians do not show.
func printStops(out io.Writer, measured result) error {
	degraded := 0
	for _, r := range measured.Rounds {
		if r[0].Degraded {
			degraded++
		}
	}
	longest := func(of int) float64 {
		return spreadOf(measured.Rounds, func(r round) float64 { return r[of].Longest }).most / 1e3
	}
	_, err := fmt.Fprintf(out, "longest call: %.1f ms while Redis is suspended, %.1f ms while Redis answers; the broker considered Redis unreachable at the end of %d of %d rounds with a suspended Redis\n",
		longest(0), longest(1), degraded, len(measured.Rounds))
	return err
}
