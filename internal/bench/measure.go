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

var (
	staticKey = subject{"pendo", "static"}
	warmToken = subject{"sendpulse-oauth", "warm token"}

	subjects = []subject{staticKey, warmToken}
)

// measureAll starts the servers and the load, and prints what is measured.
func measureAll(ctx context.Context, chosen settings, out io.Writer) error {
	printHead(out, chosen)
	if err := measureCalls(ctx, chosen, out); err != nil {
		return err
	}
	if chosen.chain {
		if err := measureChain(ctx, chosen, out); err != nil {
			return err
		}
		if err := measureRefusals(ctx, chosen, out); err != nil {
			return fmt.Errorf("refusals: %w", err)
		}
	}
	if chosen.redis {
		if err := measureRedis(ctx, chosen, out); err != nil {
			return err
		}
	}
	if len(chosen.credentials) == 0 {
		return nil
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

// measureSubject compares the broker with a do-nothing server for one credential.
func measureSubject(ctx context.Context, about subject, chosen settings, broker endpoint, out io.Writer) error {
	told := chosen.task(about.credential)
	told.Broker = broker
	return with(ctx, roleDoNothing, told, func(nothing endpoint) error {
		told.First, told.Second = side{Name: "broker", At: broker}, side{Name: "do-nothing", At: nothing}
		return compare(ctx, chosen, about, told, out)
	})
}

// task is to ask for this credential.
func (s settings) task(credential string) task {
	return task{Credential: credential, Rounds: s.rounds, RoundDuration: s.roundDuration}
}

// compare starts a load for each number of callers, and prints what it measures.
func compare(ctx context.Context, chosen settings, about subject, told task, out io.Writer) error {
	for _, callers := range chosen.callers {
		told.Callers = callers
		err := with(ctx, roleLoad, told, func(measured result) error {
			return printResult(out, about, told, measured)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
