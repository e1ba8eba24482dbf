package server

import (
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// maxLoggedProblems is the maximum number of logged problems of a configuration, and also of logged
// warnings.
const maxLoggedProblems = 20

// Reload puts the configuration that the function `load` returns into use. After an error, the
// previous configuration stays in use.
func (s *Server) Reload(load func() (*config.Config, error)) error {
	before := s.broker.Current().Config
	next, err := load()
	if err == nil {
		err = s.checkExposure(next)
	}
	if err == nil {
		served := *next
		if served.Listen.TLS == nil { // the server stops using TLS only after a restart
			served.Listen.TLS = before.Listen.TLS
		}
		if (served.Store == nil) != (before.Store == nil) { // the store is opened and closed only by a restart
			served.Store = before.Store
		}
		err = s.use(&served)
	}
	if err != nil {
		problems := problemsOf(err)
		s.problems.Store(&problems)
		s.observer.LoadFailed()
		s.logProblems(problems)
		return err
	}
	for _, setting := range []struct {
		name string
		same bool
	}{
		{"listen", next.Listen.Same(s.fixed.Listen)},
		{"limits", next.Limits == s.fixed.Limits},
		{"audit", next.Audit == s.fixed.Audit},
		{"store", next.Store.Same(s.fixed.Store)},
		{"proxies", next.Proxies == s.fixed.Proxies},
		{"console", next.Console.Same(s.fixed.Console)},
		{"token_cache", next.TokenCache.Same(s.fixed.TokenCache)},
	} {
		if !setting.same {
			s.logger.Warn("a setting changed: restart to apply it", "setting", setting.name)
		}
	}
	s.problems.Store(nil)
	s.loaded(before)
	return nil
}

// use puts a configuration and its authenticators into use. Each call uses either the new
// configuration or the previous one, never a mixture of both. After an error, the previous
// configuration stays in use.
func (s *Server) use(next *config.Config) error {
	err := s.management.Reload(next, func(managed []*credentials.Credential) error {
		return s.broker.Use(broker.Load{Config: next, Callers: s.newCallers(next), Managed: managed})
	})
	s.keys.Use(s.broker.Current().Callers.Issuers)
	return err
}

// loaded logs and counts that a new configuration is in use. The parameter `before` is the previous
// configuration, or nil at the start of the server.
func (s *Server) loaded(before *config.Config) {
	now, at := s.broker.Current().Config, time.Now()
	s.loadTime.Store(&at)
	logWarnings(s.logger, now, before, maxLoggedProblems)
	if before != nil && demandsLess(now, before) {
		s.WarnOfExposure()
	}
	s.noteCertificate(now, before)
	s.observer.Loaded(now)
}

func (s *Server) logProblems(problems []string) {
	s.logger.Error("the configuration has problems: the previous configuration stays in use")
	for _, problem := range problems[:min(len(problems), maxLoggedProblems)] {
		s.logger.Error("configuration", "problem", problem)
	}
	if more := len(problems) - maxLoggedProblems; more > 0 {
		s.logger.Error("configuration", "more_problems", more)
	}
}

// problemsOf returns the problems in the error of a load.
func problemsOf(err error) []string {
	var problems yamlfile.Problems
	if !errors.As(err, &problems) {
		return []string{err.Error()}
	}
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.String()
	}
	return texts
}

// replica returns what GetFleetStatus shows of this process.
func (s *Server) replica() management.Replica {
	replica := management.Replica{Name: s.name, Version: s.version, ConfigurationTime: *s.loadTime.Load()}
	if problems := s.problems.Load(); problems != nil {
		replica.Problems = (*problems)[:min(len(*problems), maxLoggedProblems)]
	}
	if s.redis != nil {
		replica.TokenCache = management.Dependency{Configured: true, Available: !s.redis.OutOfReach.Load()}
		if !replica.TokenCache.Available {
			replica.TokenCache.Explanation = "Redis cannot be reached: this replica obtains tokens for itself."
		}
	}
	return replica
}
