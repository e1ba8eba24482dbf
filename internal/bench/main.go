// Command bench measures what the broker adds to a gRPC call. It calls
// GetAuthDecoration of the real server, with all its interceptors, and a method that
// does nothing: on the same server library, with none, and with the same sizes of
// messages. It calls them in turn, over TCP on the loopback interface, and prints the
// ratios. It does the same with everything that guards the broker, over TLS, and prints whether
// a refused caller can tell by time which credentials exist. Where there is
// a redis-server, it also compares a broker with Redis with one that has none, with one that
// reads Redis on every call, and with itself while Redis is stopped.
//
// Servers and load are a process each. All run this program, which starts itself again
// in a role.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// run plays the role that the first argument names. Without one it starts the other
// roles and prints what they measure.
func run(ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(arguments) > 0 {
		if play, ok := roles[arguments[0]]; ok {
			return obey(ctx, play, stdin, stdout)
		}
	}
	chosen, err := parseSettings(arguments, stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = measureAll(ctx, chosen, stdout)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// settings are what the flags say.
type settings struct {
	rounds        int
	roundDuration time.Duration
	callers       []int
	credentials   []int
	redis         bool
	chain         bool
}

func parseSettings(arguments []string, stderr io.Writer) (settings, error) {
	var chosen settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&chosen.rounds, "rounds", 10, "how many pairs of rounds each setting has, after one to warm up")
	flags.DurationVar(&chosen.roundDuration, "round-duration", 1500*time.Millisecond, "how long each round of a pair lasts")
	callers := flags.String("callers", "1,64", "how many callers there are at once: a setting each")
	credentials := flags.String("credentials", "5,1000,100000", "sizes of configurations; empty: none")
	flags.BoolVar(&chosen.redis, "redis", true, "measure what Redis costs")
	flags.BoolVar(&chosen.chain, "chain", true, "measure the broker with everything that guards it")
	short := flags.Bool("short", false, "a quick look: 3 pairs of short rounds")
	if err := flags.Parse(arguments); err != nil {
		return settings{}, err
	}
	if flags.NArg() > 0 {
		return settings{}, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if *short {
		chosen.rounds, chosen.roundDuration = 3, 200*time.Millisecond
	}
	if chosen.rounds < 1 || chosen.roundDuration <= 0 {
		return settings{}, errors.New("-rounds and -round-duration must be greater than 0")
	}
	var err error
	if chosen.callers, err = numbers("callers", *callers); err != nil {
		return settings{}, err
	}
	if *credentials == "" {
		return chosen, nil
	}
	chosen.credentials, err = numbers("credentials", *credentials)
	return chosen, err
}

// numbers reads the list that a flag is.
func numbers(name, list string) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-%s must be numbers greater than 0, with commas between them, and is %q", name, list)
		}
		all = append(all, n)
	}
	return all, nil
}
