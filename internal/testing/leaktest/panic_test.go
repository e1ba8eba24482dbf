package leaktest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

// `panicking` is an HTTP transport and a clock that panic with values that contain secrets.
type panicking struct {
	clockwork.Clock
	w      *world
	secret string
	broken atomic.Bool
}

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	all, _ := httputil.DumpRequestOut(r, true)
	p.w.collect(sent, all)
	if strings.Contains(string(all), "basic") {
		panic(string(all))
	}
	panic(errors.New(string(all)))
}

func (p *panicking) Now() time.Time {
	if p.broken.Load() {
		panic(p.secret)
	}
	return p.Clock.Now()
}

// `panics` makes several parts of a broker panic. The broker runs in the process of the test.
func panics(w *world) {
	w.Helper()
	loaded, err := config.Parse(w.path("socket.yaml"), []byte(w.configs["socket.yaml"]), config.Options{LookupEnv: w.lookup})
	if err != nil {
		w.Fatal(err)
	}
	loaded.Audit = config.Audit{}
	broken, log := &panicking{Clock: clockwork.NewRealClock(), w: w, secret: w.canary("what a panic is about")}, new(output)
	made, err := server.New(server.Options{
		Config: loaded, Clock: broken, TokenTransport: broken,
		Logger: slog.New(slog.NewJSONHandler(io.Writer(log), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		w.Fatal(err)
	}
	address := config.Address{Network: "unix", Address: w.path("panics")}
	listener, err := server.Listen(w.Context(), address, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- made.ServeGRPC(listener) }()
	c := w.dial("panics", "unix://"+address.Address, insecure.NewCredentials())
	for _, id := range []string{"json-good", "basic-good"} {
		if c.get(id) == nil {
			w.Errorf("%s: a call succeeded although its token request panicked", id)
		}
	}
	broken.broken.Store(true)
	if c.get("static") == nil {
		w.Error("a call succeeded although it panicked")
	}
	broken.broken.Store(false)
	made.Stop(context.Background())
	if err := <-served; err != nil {
		w.Error(err)
	}
	w.collect("panics: log", log.Bytes())
	for _, where := range []string{"panic in a call", "panic in a token request"} {
		if !w.contains("panics: log", where) {
			w.Errorf("the log does not contain a %s", where)
		}
	}
}
