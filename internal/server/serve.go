package server

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/rpc"
)

const (
	// gracePeriod is how long calls may continue after Stop begins. A token request may take just
	// as long. So a token request that has begun can end, and no other replica has to repeat it.
	gracePeriod = 10 * time.Second
	// lastPeriod is how long Stop waits for calls after it has cancelled their token requests, again
	// after it has closed the connections, and then for Redis to save what this replica knows.
	lastPeriod = time.Second
)

// Listen returns the listen settings with which the server was started.
func (s *Server) Listen() config.Listen { return s.fixed.Listen }

// HasConsole reports whether the server has a console.
func (s *Server) HasConsole() bool { return s.console != nil }

// Listeners are the listeners of a Server. HTTP and Console may be nil.
type Listeners struct{ GRPC, HTTP, Console net.Listener }

// Run serves the listeners until ctx ends or a listener fails, and then stops the server.
func (s *Server) Run(ctx context.Context, on Listeners) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.ServeGRPC(on.GRPC) })
	if on.HTTP != nil {
		group.Go(func() error { return s.ServeHTTP(on.HTTP) })
	}
	if on.Console != nil {
		group.Go(func() error { return s.ServeConsole(on.Console) })
	}
	group.Go(func() error {
		<-ctx.Done()
		s.Stop(context.WithoutCancel(ctx))
		return nil
	})
	return group.Wait()
}

// ServeGRPC serves the listener until Stop, and closes the listener.
func (s *Server) ServeGRPC(listener net.Listener) error {
	s.serving.Store(true)
	served := make(chan error, 1)
	go func() {
		served <- s.grpc.Serve(s.admission.Listener(listener, func() bool { return s.isTrusted(listener) }))
	}()
	select {
	case err := <-served:
		if !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
	case <-s.stopped.Done(): // gRPC may still wait for calls that hang
	}
	return nil
}

// ServeHTTP serves the listener until Stop, and closes the listener.
func (s *Server) ServeHTTP(listener net.Listener) error {
	if isRemote(listener.Addr()) {
		s.httpRemote.Store(true)
	}
	if err := s.http.Serve(s.overTLS(s.admission.HTTPListener(listener))); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// isTrusted reports whether every client that can connect to a gRPC listener gets the secrets
// without authentication.
func (s *Server) isTrusted(listener net.Listener) bool {
	current, address := s.broker.Current(), listener.Addr()
	local := !isRemote(address)
	return rpc.IsTrusted(current, local) || local && address.Network() != "unix" && !demandsProof(current.Config)
}

// Stop ends the server in two phases. In the first phase, health checks report NOT_SERVING, watches
// end, and other calls finish. Calls that still wait for a token after 10 seconds, or when ctx
// ends, fail with SERVER_STOPPING. Stop then waits for at most 2 more seconds for calls that hang
// for another reason, such as a log that no process reads. In the second phase, Stop closes the
// parts of the server that calls use.
func (s *Server) Stop(ctx context.Context) {
	s.beginStop()
	s.broker.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
		_ = s.requests.Acquire(s.stopped, allRequests) // waits for calls over HTTP, and for pages of the console
	}()
	ctx, cancel := context.WithTimeout(ctx, gracePeriod)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		s.logger.Warn("calls have not finished: cancelling their token requests")
	}
	s.tokens.Close()
	if !endsWithin(lastPeriod, done) {
		go s.grpc.Stop() // Stop closes all connections, but also waits for calls to finish
		if !endsWithin(lastPeriod, done) {
			s.logger.Error("calls do not finish: stopping without waiting for them")
		}
	}
	ending, endHTTP := context.WithTimeout(context.Background(), lastPeriod)
	defer endHTTP()
	s.eachHTTP(func(web *http.Server) { _ = web.Shutdown(ending) })
	s.background.Wait()
	s.storeLastRefreshTokens()
	s.management.SaveUses()
	s.saveUsage()
	s.closeStore()
	s.closeDriver()
	s.keys.Close()
	s.denials.Close()
	s.observer.Close()
	if err := s.audit.Close(); err != nil {
		s.logger.Error("the audit file could not be closed", "error", err)
	}
	s.eachHTTP(func(web *http.Server) { _ = web.Close() })
	s.endStop()
}

// saveUsage saves which versions callers were sent and used since the last time.
func (s *Server) saveUsage() {
	ctx, cancel := context.WithTimeout(context.Background(), lastPeriod)
	defer cancel()
	s.broker.SaveUsage(ctx)
}

// allRequests is the number of HTTP requests that may be in progress.
const allRequests = math.MaxInt64

// awaited returns a handler whose requests Stop waits for. Stop does not wait for requests that begin
// after it, which the handler must refuse.
func (s *Server) awaited(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.requests.TryAcquire(1) {
			defer s.requests.Release(1)
		}
		inner.ServeHTTP(w, r)
	})
}

// eachHTTP calls a function for the HTTP servers at the same time, and returns when the calls have
// returned.
func (s *Server) eachHTTP(do func(*http.Server)) {
	var all sync.WaitGroup
	all.Go(func() { do(s.http) })
	if s.consoleHTTP != nil {
		all.Go(func() { do(s.consoleHTTP) })
	}
	all.Wait()
}

func endsWithin(wait time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-time.After(wait):
		return false
	}
}
