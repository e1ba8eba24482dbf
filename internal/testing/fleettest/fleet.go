// Package fleettest runs a fleet for tests: `broker serve` processes that share one Redis and
// get their tokens from a simulated provider, and callers that check every answer.
//
// A package that uses fleettest must call Main in its TestMain. Functions and methods that have
// access to a testing.TB end the test when they fail. Such a function must only be called from
// the goroutine of the test.
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

// Default values of the fields of Options.
const (
	defaultBrokers     = 8
	defaultCredentials = 20
	defaultLifetime    = 20 * time.Second
)

// Patience is the longest time that tests wait for a condition. If the broker works, each wait
// is much shorter.
const Patience = 30 * time.Second

// Options describe a fleet. The field Redis must be set; the other fields are optional.
type Options struct {
	// Redis is the value of `token_cache.redis` in the configuration; encoding/json writes it to
	// the file.
	Redis map[string]any
	// Brokers is the number of brokers. Default: 8.
	Brokers int
	// Credentials is the number of credentials. Each credential has its own client at the
	// provider. Default: 20.
	Credentials int
	// Lifetime is how long tokens are valid. Default: 20 s. With the default, the safety margin
	// is the last 2 s of the lifetime, and renewal begins 3.3 s before the safety margin.
	Lifetime time.Duration
	// EndsPrevious makes the provider revoke a token when it issues the next token. The
	// provider's definition for the brokers says the same.
	EndsPrevious bool
	// Change is a function that may modify the configuration of each broker. It is called before
	// encoding/json writes the configuration to the file. Default: no modification.
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

// Credential is a credential in the configuration of every broker, together with its client at
// the provider.
type Credential struct {
	ID     string
	Client simulator.Client
}

// Fleet is a set of brokers that share a Redis. The fleet stops at the end of the test.
type Fleet struct {
	// Provider issues the tokens of all brokers.
	Provider *Provider
	// Credentials are the credentials of all brokers. All brokers have the same credentials.
	Credentials []Credential
	// Brokers are the brokers of the fleet. They are running when Start returns. AddBroker
	// appends further brokers.
	Brokers []*Broker
	// Withdrawn contains the versions that callers reported with the method Report.
	Withdrawn Withdrawals

	t       testing.TB
	options Options
	folder  string
	key     string // the fleet key
}

// Start starts a fleet and returns when every broker answers calls. At its end the test fails if
// a broker's log contains a secret of the provider.
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

// AddBroker starts one more broker and returns when that broker answers calls.
func (f *Fleet) AddBroker() *Broker {
	f.t.Helper()
	b := f.newBroker(len(f.Brokers))
	f.Brokers = append(f.Brokers, b)
	b.Start()
	return b
}

// Running returns the brokers whose processes exist. Suspended processes are included.
func (f *Fleet) Running() []*Broker {
	return slices.DeleteFunc(slices.Clone(f.Brokers), func(b *Broker) bool { return !b.running() })
}

// checkLogs searches the logs of all brokers for secrets. If the test has failed, checkLogs
// prints the last lines of each log.
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

// socketFolder returns a new folder. The path of the folder is short enough for Unix sockets.
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
