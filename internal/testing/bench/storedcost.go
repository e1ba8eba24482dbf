package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	storedChanges = 5
	storedPages   = 20
	// readLimit is how long a broker may take to read all credentials before the benchmark fails.
	readLimit = 5 * time.Minute
	// changeLimit is how long a broker may take to serve a change before the benchmark fails.
	changeLimit = 30 * time.Second
)

// storedCost contains the times and the memory that a broker needs for its stored credentials.
type storedCost struct {
	ready, reload, change time.Duration // change is the longest time until a change was served
	page, unmatched       time.Duration // the longest times to list a page of 1000 credentials, without and with a filter that matches none
	resident              float64       // the largest resident memory in bytes
}

// measureStore prints how much time and memory a broker needs for a number of credentials in a
// database. If `warm` is true, measureStore also compares warm calls of a stored credential with
// calls of a declared credential.
func measureStore(ctx context.Context, chosen options, kind, url string, credentials int, warm bool, out io.Writer) (err error) {
	filled, err := fill(ctx, kind, url, credentials)
	if err != nil {
		return err
	}
	defer filled.driver.Close() //nolint:errcheck // an error of Close does not matter, because the database is deleted
	told := task{Store: url, StoreKey: filled.key}
	return with(ctx, roleBroker, told, func(stored endpoint) error {
		cost, err := filled.measure(ctx, stored)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-10s %8d credentials: ready %.2f s; configuration loaded again %.2f s; resident %.0f MB; a change served %.0f ms; a page of 1000 %.1f ms, without a match %.1f ms\n",
			kind, credentials, cost.ready.Seconds(), cost.reload.Seconds(), cost.resident/1e6, milliseconds(cost.change), milliseconds(cost.page), milliseconds(cost.unmatched))
		if !warm {
			return nil
		}
		return with(ctx, roleBroker, task{}, func(alone endpoint) error {
			return compareStored(ctx, chosen, []side{{Name: "with " + kind, At: stored}, {Name: "declared", At: alone}}, out)
		})
	})
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

func compareStored(ctx context.Context, chosen options, sides []side, out io.Writer) error {
	for _, callers := range []int{1, 64} {
		told := setting{callers: callers, connections: 1, credential: storedKey}.task(chosen)
		told.Sides = sides
		if err := with(ctx, roleLoad, told, func(measured result) error {
			return printTable(out, fmt.Sprintf("%s, %d callers", sides[0].Name, callers), sides, measured)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (d *database) measure(ctx context.Context, broker endpoint) (cost storedCost, err error) {
	encryption, err := clientCredentials("", 0)
	if err != nil {
		return cost, err
	}
	connection, err := grpc.NewClient("passthrough:///"+broker.GRPC, grpc.WithTransportCredentials(encryption))
	if err != nil {
		return cost, err
	}
	defer connection.Close() //nolint:errcheck // an error of Close does not matter
	noteResident := func() error {
		used, err := readUsage(ctx, nil, broker.Metrics)
		cost.resident = max(cost.resident, used.resident)
		return err
	}
	client := authmaterialv1.NewBrokerServiceClient(connection)
	if cost.ready, err = awaitReady(ctx, client); err != nil {
		return cost, err
	}
	cost.ready += broker.Footprint.StartUp
	if err := noteResident(); err != nil {
		return cost, err
	}
	for range storedChanges {
		took, err := d.timeChange(ctx, client)
		if err != nil {
			return cost, err
		}
		cost.change = max(cost.change, took)
	}
	manager := authmaterialv1.NewCredentialServiceClient(connection)
	if cost.page, err = longestPage(ctx, manager, ""); err != nil {
		return cost, err
	}
	if cost.unmatched, err = longestPage(ctx, manager, `labels.team = "none"`); err != nil {
		return cost, err
	}
	began := time.Now()
	if err := requestChange(ctx, broker.Change); err != nil {
		return cost, err
	}
	cost.reload = time.Since(began)
	return cost, noteResident()
}

// awaitReady returns the time until the broker serves a stored credential. A broker that reads many
// credentials begins to answer calls before it has read them.
func awaitReady(ctx context.Context, client authmaterialv1.BrokerServiceClient) (time.Duration, error) {
	began := time.Now()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		_, err := client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: storedKey})
		if err == nil || status.Code(err) != codes.Unavailable || time.Since(began) > readLimit {
			return time.Since(began), err
		}
	}
}

// timeChange changes the credential storedKey in the database, and returns the time until the broker
// serves the change.
func (d *database) timeChange(ctx context.Context, client authmaterialv1.BrokerServiceClient) (time.Duration, error) {
	ask := func() (string, error) {
		answer, err := client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: storedKey})
		return answer.GetAuthDecoration().GetVersion(), err
	}
	before, err := ask()
	if err != nil {
		return 0, err
	}
	if err := d.change(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		switch version, err := ask(); {
		case err != nil:
			return 0, err
		case version != before:
			return time.Since(began), nil
		case time.Since(began) > changeLimit:
			return 0, fmt.Errorf("the broker does not serve a change in %s after %v", d.kind, changeLimit)
		}
	}
}

// longestPage lists at most storedPages pages of 1000 credentials, and returns the longest time
// that a page took.
func longestPage(ctx context.Context, manager authmaterialv1.CredentialServiceClient, filter string) (time.Duration, error) {
	var times []time.Duration
	request := &authmaterialv1.ListCredentialsRequest{PageSize: 1000, Filter: filter}
	for range storedPages {
		began := time.Now()
		page, err := manager.ListCredentials(ctx, request, grpc.MaxCallRecvMsgSize(64<<20))
		if err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	return slices.Max(times), nil
}
