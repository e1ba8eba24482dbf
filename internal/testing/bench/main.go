// Command bench measures what the broker adds to a gRPC call. The command compares the real broker,
// configured as each setting describes, with a "do-nothing" server: a method that does nothing, on
// the same gRPC library, without interceptors, with messages of the same sizes. The do-nothing
// server runs twice, once with grpc-go's defaults and once with the broker's transport options, and
// the output contains the ratio of the broker's results to the results of each. A second do-nothing
// server with grpc-go's defaults shows how much two equal servers differ.
//
// The command also measures how long a change takes to reach 1,000 watchers, whether response times
// reveal to a caller without a grant which credentials exist, how much Redis slows a call (if
// redis-server is installed), and how much time and memory the broker needs for many credentials in
// a store (in PostgreSQL, if it is installed), for the pages of the console, and for large
// configurations.
//
// Each server and each load generator is a process of its own. The program starts itself again for
// each of these processes, with the name of a role as its argument.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// run runs the role that the first argument names. Without arguments, `run` starts processes in the
// other roles and prints their results.
func run(ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(arguments) > 0 {
		if play, ok := roles[arguments[0]]; ok {
			return obey(ctx, play, stdin, stdout)
		}
	}
	chosen, err := parseOptions(arguments, stderr)
	if err != nil {
		return err
	}
	if chosen.list {
		for _, s := range settings() {
			fmt.Fprintln(stdout, s.name())
		}
		for _, p := range parts {
			fmt.Fprintln(stdout, p.name)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = measureAll(ctx, chosen, stdout)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// parts are the measurements that are not comparisons of settings. The flag -only selects them by
// their names.
var parts = []struct {
	name    string
	measure func(context.Context, options, io.Writer) error
}{
	{"watchers", measureWatchers},
	{"refusals", measureRefusals},
	{"redis", measureRedis},
	{"stores", measureStores},
	{"console", measureConsole},
}

func measureAll(ctx context.Context, chosen options, out io.Writer) error {
	printHead(out, chosen)
	for _, s := range chosenSettings(chosen) {
		if err := measureSetting(ctx, s, chosen, out); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	for _, p := range parts {
		if !chosen.only.MatchString(p.name) {
			continue
		}
		if err := p.measure(ctx, chosen, out); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if len(chosen.credentials) == 0 {
		return nil
	}
	return measureSizes(ctx, chosen, out)
}
