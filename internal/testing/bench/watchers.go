package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	watchers           = 1000
	watcherConnections = 20
)

// watchResult contains the time in microseconds, for each server in each round, from a change until
// the last watcher has received it.
type watchResult struct{ Rounds [][]float64 }

// measureWatchers prints how long a change takes to reach many watchers.
func measureWatchers(ctx context.Context, chosen options, out io.Writer) error {
	told := task{
		Credentials: simulatedCredentials + 1, Credential: fmt.Sprintf("%s%d", bulkPrefix, simulatedCredentials),
		Connections: watcherConnections, Identities: 1, Rounds: chosen.rounds,
	}
	return with(ctx, roleBroker, told, func(broker endpoint) error {
		told.Broker = broker
		told.Sides = []side{{Name: "broker", At: broker}}
		return withDoNothing(ctx, &told, []doNothingServer{{"do-nothing", false}, {"control", false}}, func() error {
			return with(ctx, roleWatch, told, func(measured watchResult) error { return printWatchers(out, told, measured) })
		})
	})
}

func printWatchers(out io.Writer, told task, measured watchResult) error {
	of := func(value func([]float64) float64) spread {
		values := make([]float64, len(measured.Rounds))
		for i, r := range measured.Rounds {
			values[i] = value(r)
		}
		return newSpread(values)
	}
	fmt.Fprintf(out, "\nThe time from a change until the last of %d watchers over %d connections has received it.\nFor each change, the broker loads a changed configuration. A do-nothing server sends the same state\nagain. Goal: 1.5 times the time of the do-nothing server.\n", watchers, watcherConnections)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tmedian, ms\tratio\tmin–max\t")
	for i, s := range told.Sides {
		ratio := of(func(r []float64) float64 { return r[i] / r[1] })
		fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.2f–%.2f\t\n", s.Name, of(func(r []float64) float64 { return r[i] }).median/1e3, ratio.median, ratio.least, ratio.most)
	}
	return table.Flush()
}

// `watch` measures the time from a change until all watchers have received it.
func watch(ctx context.Context, told task, answer func(any) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	crowds := make([]*crowd, len(told.Sides))
	for i, s := range told.Sides {
		t, err := newTarget(s, told)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.close()) }()
		if crowds[i], err = newCrowd(ctx, t, told.Credential, s.At.Change); err != nil {
			return err
		}
	}
	var measured watchResult
	for i := range told.Rounds + 1 {
		next := make([]float64, len(crowds))
		for j := range crowds {
			side := (i + j) % len(crowds)
			took, err := crowds[side].change(ctx)
			if err != nil {
				return err
			}
			next[side] = microseconds(took)
		}
		if i > 0 { // the first change only warms up the servers
			measured.Rounds = append(measured.Rounds, next)
		}
	}
	return answer(measured)
}

// crowd is the set of all watchers of one server.
type crowd struct {
	streams []grpc.ServerStreamingClient[authmaterialv1.WatchAuthDecorationsResponse]
	url     string // a request to this URL makes a change
}

// newCrowd opens the watches, and waits until each watcher has received its first state.
func newCrowd(ctx context.Context, t *target, credential, url string) (*crowd, error) {
	c := &crowd{url: url}
	for i := range watchers {
		stream, err := t.clients[i%len(t.clients)].WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{credential}})
		if err != nil {
			return nil, err
		}
		c.streams = append(c.streams, stream)
	}
	return c, c.receive()
}

// receive waits until each watcher has received a further state.
func (c *crowd) receive() error {
	var all errgroup.Group
	for _, stream := range c.streams {
		all.Go(func() error {
			state, err := stream.Recv()
			if err == nil && state.GetAuthDecoration() == nil {
				err = fmt.Errorf("a watcher received the error %q", state.GetError().GetMessage())
			}
			return err
		})
	}
	return all.Wait()
}

// change makes a change, and returns how long it took until all watchers had received it.
func (c *crowd) change(ctx context.Context) (time.Duration, error) {
	received := make(chan error, 1)
	go func() { received <- c.receive() }()
	began := time.Now()
	if err := requestChange(ctx, c.url); err != nil {
		return 0, err
	}
	select {
	case err := <-received:
		return time.Since(began), err
	case <-time.After(callPatience):
		return 0, errors.New("not every watcher received the change in time")
	}
}

func requestChange(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the request for a change was answered with %s", response.Status)
	}
	return nil
}
