package fleettest_test

import (
	"errors"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
)

// action is a function to call at a given time after the start of a round.
type action struct {
	after time.Duration
	what  string
	do    func()
}

// A few faults last so long that tokens and locks expire.
const (
	latestFault  = time.Second
	longestFault = 2 * time.Second
	longFault    = 5 * time.Second
	longFaults   = 6 // on average, one in six faults is long

	longestOutage = 20 * time.Second
)

// `moment` returns a random time up to a limit.
func (s *soak) moment(limit time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(limit)))
}

// `lasting` returns an action that begins a fault, and an action that ends it, at random times.
func (s *soak) lasting(what string, begin func(), ended string, end func()) []action {
	at, lasts := s.moment(latestFault), s.moment(longestFault)
	if s.random.IntN(longFaults) == 0 {
		lasts = longFault
	}
	return []action{{at, what, begin}, {at + lasts, ended, end}}
}

// `kind` is a kind of fault, which occurs in one of `oneIn` rounds on average.
type kind struct {
	draw  func(*cost) []action
	oneIn int
}

func (s *soak) kinds() []kind {
	kinds := []kind{
		// The fault `suspension` comes first, because the clock of Redis cannot be shifted while
		// Redis is suspended.
		{s.suspension, 4},
		{s.correction, 4},
		{s.hostileRedis, 4},
		{s.redisFault, 2},
		{s.brokerFault, 2},
		{s.providerFault, 2},
		{s.revocation, 2},
		{s.falseReport, 2},
		{s.secretRotation, 2},
	}
	if s.alone {
		kinds = append(kinds, kind{s.busyMachine, 5})
	}
	return kinds
}

// schedule selects the faults of a round: at least one kind, and each kind at most once. About
// every third round has only one kind of fault, so that a failure of the test shows which fault
// caused it.
func (s *soak) schedule(c *cost) []action {
	kinds := s.kinds()
	if s.random.IntN(3) == 0 {
		return kinds[s.random.IntN(len(kinds))].draw(c)
	}
	var all []action
	for len(all) == 0 {
		for _, kind := range kinds {
			if s.random.IntN(kind.oneIn) == 0 {
				all = append(all, kind.draw(c)...)
			}
		}
	}
	return all
}

func (s *soak) redisFault(c *cost) []action {
	c.redis = true
	switch choice := s.random.IntN(3); {
	case choice == 0:
		return s.lasting("kill Redis", func() { s.redis.begin(); s.server.Kill() }, "start it empty", s.server.Restart)
	case choice == 1 && c.suspensions == 0:
		return s.lasting("stop Redis", func() { s.redis.begin(); s.server.Stop() }, "continue it", s.server.Continue)
	default:
		return []action{{s.moment(latestFault), "restart Redis empty", func() { s.redis.begin(); s.server.Restart() }}}
	}
}

func (s *soak) brokerFault(c *cost) []action {
	b := s.fleet.Brokers[s.random.IntN(len(s.fleet.Brokers))]
	c.losses++
	if s.random.IntN(2) == 0 {
		return s.lasting("stop "+b.Name, func() { s.stopped[b].begin(); s.stops[b] = true; b.Stop() },
			"continue it", func() { s.stops[b] = false; b.Continue() })
	}
	c.processes++
	return s.lasting("kill "+b.Name, func() { s.down[b].begin(); b.Kill() }, "start it", func() { b.Start(); s.down[b].end() })
}

func (s *soak) providerFault(c *cost) []action {
	switch s.random.IntN(3) {
	case 0:
		var release func()
		return s.lasting("hold the provider's answers", func() { s.held.begin(); release = s.fleet.Provider.HoldTokenAnswers() },
			"let them out", func() { release() })
	case 1:
		return s.outage(c, failure{what: "end the provider", failure: simulator.CloseConnection()})
	default:
		return s.outage(c, gateways[s.random.IntN(len(gateways))])
	}
}

// `outage` makes the provider fail. A few outages are so long that the time between two token
// requests of a broker reaches its maximum.
func (s *soak) outage(c *cost, f failure) []action {
	all := s.failing(c, f)
	if s.random.IntN(longFaults) == 0 {
		all[1].after = all[0].after + longestOutage
	}
	return all
}

func (s *soak) failing(c *cost, f failure) []action {
	return s.lasting(f.what, func() {
		c.failing = time.Now()
		if s.provider.touches(c.failing, c.failing.Add(1)) {
			c.failed = longestBackoff // the brokers have not called the provider since its previous outage
		}
		s.provider.begin()
		s.fleet.Provider.FailTokenRequests(f.failure)
	}, "let it work again", func() {
		s.fleet.Provider.RestoreTokenRequests()
		c.failed, c.retryAfter = max(c.failed, time.Since(c.failing)), f.retryAfter
		s.provider.endIn(c.longestWait())
	})
}

func (s *soak) revocation(c *cost) []action {
	c.revocations++
	return []action{{s.moment(latestFault + longestFault), "revoke all tokens", s.fleet.Provider.RevokeTokens}}
}

// falseReport reports a valid token as rejected. Other callers report only tokens that the provider
// rejects.
func (s *soak) falseReport(c *cost) []action {
	b, credential := s.fleet.Brokers[s.random.IntN(len(s.fleet.Brokers))], s.fleet.Credentials[s.random.IntN(len(s.fleet.Credentials))]
	c.reported[credential.ID]++
	return []action{{s.moment(latestFault + longestFault), "report a good token of " + credential.ID + " to " + b.Name, func() {
		s.callers.Go(func() {
			answer := s.fleet.Ask(b, 0, credential)
			err := s.check(answer)
			if err == nil && answer.Err == nil {
				err = s.report(answer)
			}
			if err != nil {
				s.Errorf("a call to %s failed its check: %v", b.Name, err)
			}
		})
	}}}
}

// secretRotation gives a new client secret to the replicas at different times, and revokes the old
// secret when all replicas have the new one.
func (s *soak) secretRotation(c *cost) []action {
	credential := s.fleet.Credentials[s.random.IntN(len(s.fleet.Credentials))]
	c.rotated[credential.ID]++
	var client simulator.Client
	var end func()
	begin := s.moment(latestFault)
	all := []action{{begin, "rotate the secret of " + credential.ID, func() {
		s.rotating[credential.ID].begin()
		client, end = s.fleet.Provider.RotateSecret(credential.Client.ID)
	}}}
	for _, b := range s.fleet.Brokers {
		all = append(all, action{begin + s.moment(longestFault), "give the new secret to " + b.Name, func() {
			b.SetClient(credential.ID, client)
		}})
	}
	c.finally = append(c.finally, action{what: "end the old secret", do: func() {
		for _, b := range s.fleet.Brokers {
			now := time.Now()
			b.SetClient(credential.ID, client) // the files are written again, because a starting broker may have read the old files
			s.awaitLoaded(b, now)
		}
		end()
	}})
	return all
}

// awaitLoaded waits until a broker has read its configuration after the given time.
func (s *soak) awaitLoaded(b *fleettest.Broker, since time.Time) {
	s.fleet.Await(b.Name+" has read its files", func() error {
		loaded, err := b.Loaded()
		if err == nil && loaded.Before(since) {
			err = errors.New("it has not")
		}
		return err
	})
}
