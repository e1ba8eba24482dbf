package server

import (
	"context"
	"errors"
	"net"
	"net/http"
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
	// lastPeriod is how long Stop waits for calls after it has cancelled their token requests, and
	// again after it has closed the connections.
	lastPeriod = time.Second
)

// Listen returns the listen settings with which the server was started.
func (s *Server) Listen() config.Listen { return s.fixed.Listen }

// Run serves both listeners until ctx ends or a listener fails, and then stops the server. The HTTP
// listener may be nil.
func (s *Server) Run(ctx context.Context, grpcListener, httpListener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.ServeGRPC(grpcListener) })
	if httpListener != nil {
		group.Go(func() error { return s.ServeHTTP(httpListener) })
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
	// Changes over HTTP finish before the store is closed.
	ending, endHTTP := context.WithTimeout(context.Background(), lastPeriod)
	defer endHTTP()
	_ = s.http.Shutdown(ending)
	s.background.Wait()
	s.management.SaveUses()
	s.closeStore()
	s.closeDriver()
	s.keys.Close()
	s.denials.Close()
	s.observer.Close()
	if err := s.audit.Close(); err != nil {
		s.logger.Error("the audit file could not be closed", "error", err)
	}
	_ = s.http.Close()
	s.endStop()
}

func endsWithin(wait time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-time.After(wait):
		return false
	}
}
