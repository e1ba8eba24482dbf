package leaktest_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// TestNothingLeaks causes every kind of failure in brokers that log as much as possible. After
// that, the test searches all output of the brokers for every secret that the brokers received or
// issued.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.collectSpans()
	server := redistest.Start(t)
	w.redisURL = server.URL()
	w.setenv("REDIS_USER", "broker")
	admit(w, server.Client(), w.redisPassword)
	text, failing := w.credentials()
	w.configs = map[string]string{"tcp.yaml": w.overTCP() + text, "socket.yaml": w.overSocket() + text}

	overTCP(w, server, failing)
	overSocket(w, failing)
	checkSlips(w)
	panics(w)

	for _, found := range w.search() {
		t.Error(found)
	}
	w.wantSearched()
}

// `admit` lets the broker connect to Redis only with the given password.
func admit(w *world, client *redis.Client, password string) {
	w.Helper()
	if err := client.ACLSetUser(w.Context(), "broker", "reset", "on", ">"+password, "~*", "&*", "+@all").Err(); err != nil {
		w.Fatal(err)
	}
	_ = client.Do(w.Context(), "CLIENT", "KILL", "USER", "broker").Err() // there may be no connection
}

func overTCP(w *world, redis *redistest.Server, failing []string) {
	w.Helper()
	seen := w.monitor(redis.Addr())
	p := w.serve("over TCP", "tcp.yaml", "json")
	where := p.await(1, `"msg":"serving".*"grpc":"([^"]+)","http":"([^"]+)"`)
	nobody := w.dial(p.name, "passthrough:///"+where[1], credentials.NewTLS(w.clientTLS()))
	mailer := nobody.as("Bearer " + w.tokens["mailer"])
	misbehaveTo(w, mailer, failing)
	proveBadly(w, nobody)
	workload := w.dial(p.name, "passthrough:///"+where[1], credentials.NewTLS(w.clientTLS(w.authority.IssueSPIFFE("spiffe://example.test/mailer"))))
	if err := workload.get("static"); err != nil {
		w.Errorf("a call with a client certificate failed: %v", err)
	}

	if w.collectRedis(redis.Client()) == 0 {
		w.Error("Redis is empty")
	}
	admit(w, redis.Client(), w.canary("another password of Redis"))
	for _, id := range []string{"json-later", "json-good"} {
		if err := mailer.get(id); err != nil {
			w.Errorf("a call failed while Redis rejects the password: %v", err)
		}
	}
	w.fetch(p.name, &http.Transport{TLSClientConfig: w.clientTLS()}, "https://"+where[2])
	w.collectRedis(redis.Client())
	redis.Kill()
	w.collect("Redis: commands", seen.Bytes())
	if err := mailer.get("basic-later"); err != nil {
		w.Errorf("a call without Redis failed: %v", err)
	}
	w.fetch(p.name, &http.Transport{TLSClientConfig: w.clientTLS()}, "https://"+where[2])
	reloadBadly(w, p)
	auditBadly(w, p, mailer)
	p.end(syscall.SIGTERM)
}

// misbehaveTo calls all methods for all credentials. Calls for the credentials in `failing` must
// fail.
func misbehaveTo(w *world, c caller, failing []string) {
	w.Helper()
	if good := c.getAll(failing); len(good) > 0 {
		w.Errorf("calls succeeded that must fail: %v", good)
	}
	for _, id := range []string{"json-good", "basic-good", "static"} {
		if err := c.get(id); err != nil {
			w.Errorf("%s: %v", id, err)
		}
		c.report(id, w.canary("a version"))
	}
	c.batch(append(slices.Clone(failing), "json-good", "static", "no-such"))
	c.watch(append(slices.Clone(failing), "json-good", "static", "no-such"))
	for _, id := range failing[:5] {
		c.report(id, "v1."+w.canary("a version"))
	}
}

func proveBadly(w *world, c caller) {
	w.Helper()
	mailer, jwt := w.tokens["mailer"], w.mint("of alice", w.key, nil)
	for _, good := range []string{"Bearer " + mailer, "Bearer " + jwt} {
		if err := c.as(good).get("static"); err != nil {
			w.Errorf("a call with a valid caller token failed: %v", err)
		}
	}
	for i, proof := range [][]string{
		{mailer}, {"Basic " + mailer}, {"Bearer " + mailer + "x"}, {"Bearer x" + mailer},
		{"Bearer " + mailer, "Bearer " + jwt}, {"Bearer " + w.tokens["stranger"]}, {jwt}, {"Bearer " + jwt + "x"}, {"Bearer " + jwt + ".x"},
		{"Bearer " + w.mint("that has expired", w.key, authtest.Claims{"exp": time.Now().Add(-time.Hour).Unix()})},
		{"Bearer " + w.mint("for another", w.key, authtest.Claims{"aud": "other"})},
		{"Bearer " + w.mint("with odd claims", w.key, authtest.Claims{"exp": w.canary("an odd claim")})},
		{"Bearer " + w.mint("of nobody", authtest.Unsigned("first"), nil)},
		{"Bearer " + w.mint("by another key", authtest.NewEC("other"), nil)},
		{"Bearer " + w.mint("by a wrong key", authtest.NewEC("first"), nil)},
		{"Bearer " + w.mint("that cannot be checked", w.key, authtest.Claims{"iss": "https://down.test"})},
		{"Bearer " + w.key.Assemble([]byte("{"+w.canary("an odd header")), []byte("{}"))},
		{"Bearer " + w.key.Assemble([]byte(`{"alg":`+inYAML(w.canary("an odd algorithm"))+`}`), []byte("{}"))},
		{"Bearer " + w.canary("no token")},
	} {
		one := c.as(proof...)
		if one.get("static") == nil {
			w.Errorf("the broker accepted the invalid caller token number %d", i)
		}
		one.watch([]string{"static"})
		one.batch([]string{"static", "no-such"})
		one.report("static", mailer)
	}
}

func reloadBadly(w *world, p *process) {
	w.Helper()
	good := w.configs["tcp.yaml"]
	for _, slip := range w.slips()[:8] { // a few mistakes are enough here; checkSlips tests all mistakes
		refused := p.count(`the configuration has problems`)
		w.write("tcp.yaml", good+slip)
		p.signal(syscall.SIGHUP)
		p.await(refused+1, `the configuration has problems`)
	}
	loaded := p.count(`"msg":"configuration loaded"`)
	w.write("tcp.yaml", good)
	p.signal(syscall.SIGHUP)
	p.await(loaded+1, `"msg":"configuration loaded"`)
}

// auditBadly makes a call while the disk of the audit file seems to be full.
func auditBadly(w *world, p *process, c caller) {
	w.Helper()
	w.collectFile("audit file", w.path("audit.log"))
	if err := os.Remove(w.path("audit.log")); err != nil {
		w.Fatal(err)
	}
	if err := os.Symlink("/dev/full", w.path("audit.log")); err != nil {
		w.Fatal(err)
	}
	loaded := p.count(`"msg":"configuration loaded"`)
	p.signal(syscall.SIGHUP)
	p.await(loaded+1, `"msg":"configuration loaded"`)
	if err := c.get("static"); err == nil || !strings.Contains(err.Error(), "audit") {
		w.Errorf("a call while the audit log's disk is full returned %v, want an error about the audit log", err)
	}
}

// overSocket runs a broker that writes the audit log to standard output, and commands that call it.
func overSocket(w *world, failing []string) {
	w.Helper()
	p := w.serve("over a socket", "socket.yaml", "text")
	p.await(1, `msg=serving`)
	w.setenv("BROKER_ADDRESS", "unix://"+w.path("grpc"))
	for _, args := range [][]string{{}, {"-o", "json"}} {
		if out, code := w.run("broker get", slices.Concat([]string{"get"}, args, failing)...); code != 1 {
			w.Errorf("broker get %v ended with exit status %d:\n%s", args, code, out)
		}
	}
	for _, args := range [][]string{
		{"static", "json-good", "basic-good"}, {"json-refused", "-o", "curl", "--url", "https://api.example.test/"},
		{"json-refused", "--report-rejection", w.canary("a version"), "--http-status", "401"}, {"no-such", "Not An ID"},
		{"static", "-o", "curl", "--url", "https://elsewhere.example.test/"},
	} {
		w.run("broker get", append([]string{"get"}, args...)...)
	}
	misbehaveTo(w, w.dial(p.name, "unix://"+w.path("grpc"), insecure.NewCredentials()), failing)
	p.end(syscall.SIGQUIT) // a Go program prints the stack of every goroutine when it receives SIGQUIT
	if !w.contains(p.name+": log", "goroutine ") {
		w.Error("the output after SIGQUIT contains no goroutines")
	}
}
