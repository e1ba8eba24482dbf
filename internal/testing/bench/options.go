package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

type options struct {
	rounds        int
	roundDuration time.Duration
	full          bool
	only          *regexp.Regexp
	list          bool
	credentials   []int
	stored        []int // numbers of stored credentials with which to measure the broker
}

func parseOptions(arguments []string, stderr io.Writer) (options, error) {
	chosen := options{only: everything}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&chosen.rounds, "rounds", 10, "the number of measured rounds in each comparison, which follow one round to warm up")
	flags.DurationVar(&chosen.roundDuration, "round-duration", 250*time.Millisecond, "the duration for which each server is called in a round")
	flags.BoolVar(&chosen.full, "full", false, "measure all settings, with rounds of 1s, and all sizes of configurations")
	flags.BoolVar(&chosen.list, "list", false, "print the names of the settings and parts, and measure nothing")
	only := flags.String("only", "", "measure the settings and parts whose names match this regular expression, and nothing else")
	credentials := flags.String("credentials", "", "sizes of configurations to measure, such as 5,1000,100000")
	stored := flags.String("stored", "100000", "numbers of stored credentials with which to measure the broker, such as 100000,1000000")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if chosen.rounds < 1 || chosen.roundDuration <= 0 {
		return options{}, errors.New("-rounds and -round-duration must be greater than 0")
	}
	set := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if chosen.full && !set["round-duration"] {
		chosen.roundDuration = time.Second
	}
	if chosen.full && !set["credentials"] {
		*credentials = "5,1000,100000"
	}
	var err error
	if chosen.only, err = regexp.Compile(*only); err != nil {
		return options{}, fmt.Errorf("-only: %w", err)
	}
	if *credentials != "" {
		if chosen.credentials, err = numbers("credentials", *credentials); err != nil {
			return options{}, err
		}
	}
	chosen.stored, err = numbers("stored", *stored)
	return chosen, err
}

func numbers(name, list string) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-%s is %q; it must be a list of numbers greater than 0, separated by commas", name, list)
		}
		all = append(all, n)
	}
	return all, nil
}
