package server

import (
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// maxLoggedProblems bounds how many problems, and how many warnings, of a configuration are logged.
const maxLoggedProblems = 20

// Listen is where the configuration has the server listen.
func (s *Server) Listen() config.Listen { return s.listen }

// Reload takes what load returns in place of the configuration before. On an error
// that one goes on being served.
func (s *Server) Reload(load func() (*config.Config, error)) error {
	next, err := load()
	if err == nil {
		err = s.exposedBy(next)
	}
	if err == nil {
		err = s.use(next)
	}
	if err != nil {
		s.stale.Store(true)
		s.metrics.reloadOK.Set(0)
		s.logProblems(err)
		return err
	}
	if !next.Listen.Same(s.listen) {
		s.logger.Warn("a change of 'listen' takes a restart")
	}
	if next.Limits != s.limits.Limits {
		s.logger.Warn("a change of 'limits' takes a restart")
	}
	if next.Audit != s.auditing {
		s.logger.Warn("a change of 'audit' takes a restart")
	}
	if !next.TokenCache.Same(s.tokenCache) {
		s.logger.Warn("a change of 'token_cache' takes a restart")
	}
	s.loaded(next)
	return nil
}

// use serves a configuration, or on an error goes on with the one before. Until it is
// whole, calls get the one before, callers and grants alike.
func (s *Server) use(next *config.Config) error {
	served := *next
	if served.Listen.TLS == nil { // that there is any takes a restart
		served.Listen.TLS = s.broker.Current().Config.Listen.TLS
	}
	callers, err := s.identities.prepare(&served)
	if err != nil {
		return err
	}
	err = s.broker.Use(broker.Load{Config: &served, Callers: callers})
	s.identities.use(s.broker.Current().Callers)
	return err
}

// loaded notes that a configuration is served.
func (s *Server) loaded(c *config.Config) {
	denies := c.Policy.DeniesAll()
	deniedBefore := s.deniesAll.Swap(denies)
	logWarnings(s.logger, c, denies && !deniedBefore, maxLoggedProblems)
	now := exposureOf(c)
	if before := s.exposure.Swap(&now); before != nil && now.exceeds(*before) {
		s.WarnOfExposure()
	}
	s.tls.loaded()
	s.stale.Store(false)
	s.metrics.reloadOK.Set(1)
	s.metrics.loadedAt.Set(float64(time.Now().UnixMilli()) / 1000)
	s.metrics.generation.Inc()
	s.metrics.tokens.prepare(c)
	s.metrics.static.prepare(c)
	s.metrics.credentials.Set(float64(c.Credentials.Len()))
	s.logger.Info("configuration loaded", "credentials", c.Credentials.Len())
}

// logProblems writes a line for each problem.
func (s *Server) logProblems(err error) {
	s.logger.Error("the configuration has problems: the one before is served on")
	var problems strictyaml.Problems
	if !errors.As(err, &problems) {
		s.logger.Error("configuration", "problem", err.Error())
		return
	}
	for i, problem := range problems {
		if i == maxLoggedProblems {
			s.logger.Error("configuration", "more_problems", len(problems)-i)
			break
		}
		s.logger.Error("configuration", "problem", problem.String())
	}
}
