package clientworld

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/testing/processtest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// The load: requests for more than three lifetimes of a token.
const (
	loadName        = "load"
	loadRequests    = 10_000
	loadConcurrency = 8
	loadTime        = 65 * time.Second
	tokenLifetime   = 20 * time.Second
	// The broker renews a token of 20 s after about 15 s. Two token requests with a shorter
	// distance need a revocation between them.
	leastLifetime = 12 * time.Second
	// Revocations have half of this distance at least, because a request is repeated only once.
	leastDistance = 4 * time.Second
	// The calls that a client may make in all this time, whatever the number of requests.
	mostGets    = 10
	mostWatches = 40
	mostUsages  = 2
)

// load is the surroundings of a client under load: two real brokers that share a Redis, behind a
// forwarder, and a simulated provider.
type load struct {
	folder    string
	simulator *simulator.Simulator
	tokens    *simulator.TokenEndpoint
	front     *http.Server
	apiHost   string
	redis     *processtest.Process
	replicas  []*replica
	forwarder *forwarder
	seed      uint64

	refused atomic.Int64 // answers with status 401

	mu      sync.Mutex
	issued  []time.Time
	revoked []time.Time
	faults  []string // what was done to the brokers, with times
	down    bool     // no broker runs
}

// runLoad runs the load, and returns its figures.
func runLoad(ctx context.Context, perform performer) (figures string, err error) {
	l := &load{seed: rand.Uint64()}
	defer l.close()
	if err := l.start(ctx); err != nil {
		return "", err
	}
	broker := &brokerOptions{Address: l.forwarder.listener.Addr().String(), Plaintext: true}
	if _, err := perform(ctx, operation{Op: "new", Broker: broker}); err != nil {
		return "", err
	}
	disturbed := make(chan error, 1)
	go func() { disturbed <- l.disturb(ctx) }()
	began := time.Now()
	got, err := perform(ctx, operation{Op: "load", Seconds: loadTime.Seconds(), requestOp: &requestOp{
		Credential: loadCredential, URL: "http://" + l.apiHost + loadAPI, Count: loadRequests, Concurrency: loadConcurrency,
	}})
	took := time.Since(began)
	if err := errors.Join(err, <-disturbed); err != nil {
		return "", err
	}
	figures, err = l.judge(got, took)
	if err != nil {
		return "", err
	}
	_, err = perform(ctx, operation{Op: "close"})
	return figures, err
}

func (l *load) start(ctx context.Context) (err error) {
	if l.folder, err = os.MkdirTemp("", "load"); err != nil {
		return err
	}
	if err := l.startProvider(); err != nil {
		return err
	}
	redis, err := l.startRedis()
	if err != nil {
		return err
	}
	program, err := buildBroker(ctx, l.folder)
	if err != nil {
		return err
	}
	client := l.tokens.AddClient(simulator.Client{ID: loadCredential})
	environment := []string{keyVariable + "=" + fleetkeys.Generate(), secretVariable + "=" + client.Secret}
	var sockets []string
	for i := range 2 {
		r := &replica{
			program: program, folder: filepath.Join(l.folder, strconv.Itoa(i)), environment: environment, calls: map[string]int{},
		}
		if err := errors.Join(os.Mkdir(r.folder, 0o700), r.configure(l.apiHost, redis)); err != nil {
			return err
		}
		if err := r.start(); err != nil {
			return err
		}
		l.replicas = append(l.replicas, r)
		sockets = append(sockets, r.path(grpcSocket))
	}
	l.forwarder, err = newForwarder(sockets...)
	return err
}

// startProvider starts the provider, and records the times of token requests.
func (l *load) startProvider() (err error) {
	if l.simulator, err = simulator.New(simulator.InProcess()); err != nil {
		return err
	}
	l.tokens = l.simulator.HandleTokens("POST 127.0.0.1"+tokenEndpoint, simulator.TokenRules{Body: simulator.JSONBody})
	l.tokens.SetTokenLifetime(tokenLifetime)
	l.simulator.Handle("GET 127.0.0.1"+loadAPI, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.tokens.Accepts(r) {
			l.refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.apiHost = listener.Addr().String()
	inner := l.simulator.Handler()
	l.front = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenEndpoint {
			l.mu.Lock()
			l.issued = append(l.issued, time.Now())
			l.mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	})}
	go func() { _ = l.front.Serve(listener) }()
	return nil
}

func (l *load) startRedis() (url string, err error) {
	path, err := redistest.Find()
	if err != nil {
		return "", err
	}
	for range 20 {
		port := strconv.Itoa(firstPort + rand.IntN(ports))
		command := exec.CommandContext(context.Background(), path, "--port", port, "--bind", "127.0.0.1", "--dir", l.folder, "--save", "", "--appendonly", "no")
		if l.redis, err = processtest.StartServer(command, "Ready to accept connections", startLimit); err == nil {
			return "redis://127.0.0.1:" + port, nil
		}
	}
	return "", err
}

func (l *load) close() {
	if l.forwarder != nil {
		_ = l.forwarder.listener.Close()
	}
	for _, r := range l.replicas {
		if r.process.Runs() {
			r.process.Kill()
		}
	}
	if l.redis != nil && l.redis.Runs() {
		l.redis.Kill()
	}
	if l.simulator != nil {
		_ = l.simulator.Close()
	}
	if l.front != nil {
		_ = l.front.Close()
	}
	_ = os.RemoveAll(l.folder)
}

// disturb revokes tokens at random times, restarts both brokers at once, and later one after the
// other. disturb ends well before the load does.
func (l *load) disturb(ctx context.Context) error {
	began := time.Now()
	at := func(offset time.Duration) error { return pause(ctx, time.Until(began.Add(offset))) }
	revoked := make(chan error, 1)
	go func() { revoked <- l.revokeTokens(at) }()
	restarted := l.restart(at)
	return errors.Join(restarted, <-revoked)
}

func (l *load) restart(at func(time.Duration) error) error {
	if err := at(loadTime / 4); err != nil {
		return err
	}
	l.setDown(true)
	l.note("both brokers are killed")
	for _, r := range l.replicas {
		if err := r.stop(syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, r := range l.replicas {
		if err := r.start(); err != nil {
			return err
		}
	}
	l.note("both brokers serve again")
	l.setDown(false)
	if err := at(loadTime / 2); err != nil {
		return err
	}
	for i, r := range l.replicas {
		l.note(fmt.Sprintf("broker %d is stopped", i))
		if err := r.stop(syscall.SIGTERM); err != nil {
			return err
		}
		if err := r.start(); err != nil {
			return err
		}
		l.note(fmt.Sprintf("broker %d serves again", i))
		if err := at(loadTime/2 + time.Duration(i+1)*3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// revokeTokens revokes the tokens twice in each window of the load, at random times. Between the
// windows, there is time for a token to be renewed before it expires.
func (l *load) revokeTokens(at func(time.Duration) error) error {
	random := rand.New(rand.NewPCG(l.seed, 0))
	for _, window := range []time.Duration{2 * time.Second, 28 * time.Second, 52 * time.Second} {
		for _, begin := range []time.Duration{window, window + leastDistance} {
			if err := at(begin + time.Duration(random.Int64N(int64(leastDistance/2)))); err != nil {
				return err
			}
			l.mu.Lock()
			if !l.down { // a report could not be made
				l.revoked = append(l.revoked, time.Now())
				l.tokens.RevokeTokens()
			}
			l.mu.Unlock()
		}
	}
	return nil
}

func (l *load) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

func (l *load) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, what+" at "+time.Now().Format("15:04:05.000"))
}
