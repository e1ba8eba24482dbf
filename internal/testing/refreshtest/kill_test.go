// Package refreshtest tests that killed brokers lose no refresh token.
package refreshtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// roundsVariable is the name of an environment variable with the number of replicas that the test
// kills for each database. By default, the test kills one at each step.
const roundsVariable = "BROKER_REFRESH_KILLS"

// TestReplica runs only in the process of a replica.
func TestReplica(t *testing.T) {
	if os.Getenv(configVariable) == "" {
		t.Skip("this process is not a replica")
	}
	serve(t)
}

const settings = `
credentials:
  - id: c
    provider: p
    auth_method: m
    values: {refresh_token: {value: refresh-0}}
providers:
  - id: p
    display_name: P
    allowed_hosts: [p.example.com]
    auth_methods:
      - id: m
        display_name: M
        fields: [{id: refresh_token, display_name: R, required: true, secret: true}]
        token_request:
          url: %s/token
          body: FORM
          client_authentication: NONE
          grant_type: refresh_token
          parameters: {refresh_token: "${refresh_token}"}
          allow_private_addresses: true
          response: {refresh_token: refresh_token}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
store:
  keys: [{env: REFRESHTEST_KEY}]
`

func TestKilledReplicas(t *testing.T) {
	for kind, url := range map[string]func(t *testing.T) string{
		"sqlite": func(t *testing.T) string { return "  url: sqlite://" + filepath.Join(t.TempDir(), "broker.db") },
		"postgresql": func(t *testing.T) string {
			t.Setenv("REFRESHTEST_USER", postgrestest.User)
			t.Setenv("REFRESHTEST_PASSWORD", postgrestest.Password)
			return "  url: " + postgrestest.Start(t).Database(t) + "\n  user: {env: REFRESHTEST_USER}\n  password: {env: REFRESHTEST_PASSWORD}"
		},
	} {
		t.Run(kind, func(t *testing.T) { killReplicas(t, url(t)) })
	}
}

func killReplicas(t *testing.T, url string) {
	rounds := len(steps)
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("REFRESHTEST_KEY", fleetkeys.Generate())
	parsed, err := config.Parse("b.yaml", []byte(fmt.Sprintf(settings, "https://p.example.com")+url), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := server.OpenDriver(parsed.Store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	p := startProvider(t, driver)
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(settings, p.URL)+url), 0o600); err != nil {
		t.Fatal(err)
	}
	survivor := startReplica(t, path, "survivor", "")
	for number := range rounds {
		at := steps[number%len(steps)]
		r := &round{provider: p, at: at, survivor: survivor, victim: startReplica(t, path, fmt.Sprint("victim-", number), at)}
		// To save time, the lease of the killed replica ends at once, except in a few of many rounds.
		r.run(t, number%2 == 0, number%50 != 20)
		if t.Failed() {
			t.Fatalf("the round %d failed, in which a replica was killed when %s", number, at)
		}
	}
	t.Logf("%d replicas were killed, and the provider issued %d refresh tokens", rounds, p.issued)
}

// A round kills one replica.
type round struct {
	provider         *provider
	at               step
	survivor, victim *replica
}

// run kills the victim, and checks that the survivor gets a token afterwards. If `together` is true, the
// survivor also calls while the victim is killed.
func (r *round) run(t *testing.T, together, endLease bool) {
	r.provider.round.Store(r)
	called := make(chan struct{})
	go func() {
		defer close(called)
		for r.victim.Runs() {
			if value, _, err := r.victim.get(t.Context()); err == nil {
				r.provider.served(value)
			}
		}
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if together {
			r.awaitToken(t)
		}
	}()
	if r.at == atRandomMoment {
		<-time.After(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		r.victim.Kill()
	}
	select {
	case <-r.victim.Ended():
	case <-time.After(time.Minute):
		t.Error("the replica did not reach the step")
		r.victim.Kill()
	}
	<-called
	if endLease {
		r.provider.endLease()
	}
	<-served
	r.awaitToken(t)
}

// awaitToken waits until the survivor serves another token than before.
func (r *round) awaitToken(t *testing.T) {
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		value, isNew, err := r.survivor.get(t.Context())
		if err == nil {
			r.provider.served(value)
		}
		if last = err; isNew {
			return
		}
	}
	t.Errorf("the other replica gets no token: %v", last)
}

// reached kills the victim if it sent a request that has reached a step.
func (r *round) reached(replica string, at step) {
	if r.at == at && r.victim.name == replica {
		r.victim.Kill()
	}
}
