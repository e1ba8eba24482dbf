// Package fleettest runs a fleet for tests, which consists of `broker serve` processes that share
// one Redis and get their tokens from a simulated provider, and of callers that check every answer.
//
// A package that uses fleettest must call Main in its TestMain. Functions with access to a
// testing.TB end the test when they fail, so they must be called only from the goroutine of the
// test.
package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

const (
	defaultBrokers     = 8
	defaultCredentials = 20
	defaultLifetime    = 20 * time.Second
)

// Patience is the longest time that tests wait for a condition.
const Patience = 30 * time.Second

// Options describe a fleet. Only the field Redis is required.
type Options struct {
	// Redis is the value of `token_cache.redis` in the configuration file.
	Redis map[string]any
	// Brokers is the number of brokers. Default: 8.
	Brokers int
	// Credentials is the number of credentials, each with a client ID and client secret of its own.
	// Default: 20.
	Credentials int
	// Lifetime is how long tokens are valid. Default: 20 s. With the default lifetime, the safety
	// margin is the last 2 s of the lifetime, and renewal begins 3.3 s before the safety margin.
	Lifetime time.Duration
	// EndsPrevious makes the provider revoke a token when it issues the next one. The provider
	// definition of the brokers states whether the provider does this.
	EndsPrevious bool
	// Change may modify the configuration of each broker before it is written. Default: no
	// modification.
	Change func(broker int, configuration map[string]any)
}

func (o Options) withDefaults() Options {
	if o.Brokers == 0 {
		o.Brokers = defaultBrokers
	}
	if o.Credentials == 0 {
		o.Credentials = defaultCredentials
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	if o.Change == nil {
		o.Change = func(int, map[string]any) {}
	}
	return o
}

// Credential is a credential that every broker has. Client contains the credential's client ID and
// client secret.
type Credential struct {
	ID     string
	Client simulator.Client
}

// Fleet is a set of brokers that share a Redis, and that stop at the end of the test.
type Fleet struct {
	Provider    *Provider
	Credentials []Credential
	// Brokers are the brokers that Start and AddBroker have started.
	Brokers []*Broker
	// Withdrawn contains the versions that were reported with the method Report.
	Withdrawn Withdrawals

	t       testing.TB
	options Options
	folder  string
	key     string
}

// Start starts a fleet and returns when every broker answers calls. The test fails at its end if a
// broker's log contains a secret of the provider.
func Start(t testing.TB, options Options) *Fleet {
	t.Helper()
	options = options.withDefaults()
	f := &Fleet{t: t, options: options, folder: socketFolder(t), key: fleetkeys.Generate()}
	f.Provider = startProvider(t, options)
	for i := range options.Credentials {
		f.Credentials = append(f.Credentials, Credential{
			ID: fmt.Sprintf("credential-%02d", i), Client: f.Provider.AddClient(simulator.Client{}),
		})
	}
	t.Cleanup(f.checkLogs)
	for range options.Brokers {
		f.Brokers = append(f.Brokers, f.newBroker(len(f.Brokers)))
	}
	for _, b := range f.Brokers {
		b.launch()
	}
	for _, b := range f.Brokers {
		b.awaitServing()
	}
	return f
}

// AddBroker starts one more broker and returns when it answers calls.
func (f *Fleet) AddBroker() *Broker {
	f.t.Helper()
	b := f.newBroker(len(f.Brokers))
	f.Brokers = append(f.Brokers, b)
	b.Start()
	return b
}

// Running returns the brokers whose processes exist, including suspended ones.
func (f *Fleet) Running() []*Broker {
	return slices.DeleteFunc(slices.Clone(f.Brokers), func(b *Broker) bool { return !b.running() })
}

// checkLogs searches all logs for secrets. If the test has failed, checkLogs prints the last lines
// of each log.
func (f *Fleet) checkLogs() {
	secrets := f.Provider.sim.Secrets()
	for _, b := range f.Brokers {
		log := b.log.String()
		if slices.ContainsFunc(append(secrets, f.key), func(secret string) bool { return strings.Contains(log, secret) }) {
			f.t.Errorf("the log of %s contains a secret", b.Name)
			continue
		}
		if f.t.Failed() {
			f.t.Logf("the last lines of %s:\n%s", b.Name, lastLines(log, 10))
		}
	}
}

func lastLines(text string, n int) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// socketFolder returns a new folder whose path is short enough for Unix sockets.
func socketFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "fleet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	folder, err = filepath.EvalSymlinks(folder)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
