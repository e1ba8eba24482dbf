package main

import (
	"context"
	"fmt"
	"io"
)

// subject is a credential of the simulated configuration.
type subject struct {
	credential, kind string
}

var subjects = []subject{
	{"pendo", "static"},
	{"sendpulse-oauth", "warm token"},
}

// measureAll starts the servers and the load, and prints what is measured.
func measureAll(ctx context.Context, chosen settings, out io.Writer) error {
	printHead(out, chosen)
	if err := measureCalls(ctx, chosen, out); err != nil || len(chosen.credentials) == 0 {
		return err
	}
	return measureSizes(ctx, chosen, out)
}

// measureCalls measures warm calls of the simulated configuration.
func measureCalls(ctx context.Context, chosen settings, out io.Writer) error {
	return with(ctx, roleBroker, task{}, func(broker endpoint) error {
		for _, about := range subjects {
			if err := measureSubject(ctx, about, chosen, broker, out); err != nil {
				return fmt.Errorf("%s: %w", about.credential, err)
			}
		}
		return nil
	})
}

// measureSubject starts a do-nothing server for one credential, and a load for each
// number of callers.
func measureSubject(ctx context.Context, about subject, chosen settings, broker endpoint, out io.Writer) error {
	told := task{
		Credential:    about.credential,
		Broker:        broker,
		Rounds:        chosen.rounds,
		RoundDuration: chosen.roundDuration,
	}
	return with(ctx, roleDoNothing, told, func(nothing endpoint) error {
		told.DoNothing = nothing
		for _, callers := range chosen.callers {
			told.Callers = callers
			err := with(ctx, roleLoad, told, func(measured result) error {
				return printResult(out, about, callers, measured)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
