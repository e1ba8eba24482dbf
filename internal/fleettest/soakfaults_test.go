package fleettest_test

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/fleettest"
)

// action is something that is done in a round, so long after its beginning.
type action struct {
	after time.Duration
	what  string
	do    func()
}

// cost is what the faults of a round may cost.
type cost struct {
	began       time.Time
	processes   int       // brokers' processes that ran
	redis       bool      // Redis had a fault
	failing     time.Time // since when the provider was down; zero: it was not
	failed      time.Duration
	losses      int // of brokers: they were killed or stopped
	revocations int
	reported    map[string]int // tokens that are good, by credential
	rotated     map[string]int // by credential
	finally     []action       // what is done when all faults have ended
}

// When faults begin in a round, and how long they last: at random. One in a few lasts for
// long enough that tokens and locks end meanwhile.
const (
	latestFault  = time.Second
	longestFault = 2 * time.Second
	longFault    = 5 * time.Second
	longFaults   = 6 // one in so many
)

// moment returns a time up to a limit.
func (s *soak) moment(limit time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(limit)))
}

// lasting is a fault with its end.
func (s *soak) lasting(what string, begin func(), ended string, end func()) []action {
	at, lasts := s.moment(latestFault), s.moment(longestFault)
	if s.random.IntN(longFaults) == 0 {
		lasts = longFault
	}
	return []action{{at, what, begin}, {at + lasts, ended, end}}
}

// schedule draws what happens in a round: at least one of the kinds of faults, and at most
// one of each kind.
func (s *soak) schedule(c *cost) []action {
	kinds := []func(*cost) []action{s.redisFault, s.brokerFault, s.providerFault, s.revocation, s.falseReport, s.secretRotation}
	var all []action
	for len(all) == 0 {
		for _, draw := range kinds {
			if s.random.IntN(2) == 0 {
				all = append(all, draw(c)...)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b action) int { return int(a.after - b.after) })
	return all
}

func (s *soak) redisFault(c *cost) []action {
	c.redis = true
	switch s.random.IntN(3) {
	case 0:
		return s.lasting("kill Redis", func() { s.redis.begin(); s.server.Kill() }, "start it empty", s.server.Restart)
	case 1:
		return s.lasting("stop Redis", func() { s.redis.begin(); s.server.Stop() }, "let it go on", s.server.Continue)
	default:
		return []action{{s.moment(latestFault), "restart Redis empty", func() { s.redis.begin(); s.server.Restart() }}}
	}
}

func (s *soak) brokerFault(c *cost) []action {
	b := s.fleet.Brokers[s.random.IntN(len(s.fleet.Brokers))]
	c.losses++
	if s.random.IntN(2) == 0 {
		return s.lasting("stop "+b.Name, func() { s.stopped[b].begin(); b.Signal(syscall.SIGSTOP) },
			"let it go on", func() { b.Signal(syscall.SIGCONT) })
	}
	c.processes++
	return s.lasting("kill "+b.Name, func() { s.down[b].begin(); b.Kill() }, "start it", func() { b.Start(); s.down[b].end() })
}

func (s *soak) providerFault(c *cost) []action {
	if s.random.IntN(2) == 0 {
		var release func()
		return s.lasting("hold the provider's answers", func() { release = s.fleet.Provider.HoldTokenAnswers() },
			"let them out", func() { release() })
	}
	return s.lasting("end the provider", func() {
		c.failing = time.Now()
		s.provider.begin()
		s.fleet.Provider.FailTokenRequests(simulator.CloseConnection())
	}, "let it work again", func() {
		s.fleet.Provider.RestoreTokenRequests()
		c.failed = time.Since(c.failing)
		s.provider.endIn(longestWait(c.failed))
	})
}

// longestWait is the longest that a broker waits before the next token request after the
// last of those that failed for so long. It is as long as all waits before, a second and
// the jitter, and 10 seconds at most.
func longestWait(failing time.Duration) time.Duration {
	return min((failing+time.Second)*5/4, 10*time.Second)
}

func (s *soak) revocation(c *cost) []action {
	c.revocations++
	return []action{{s.moment(latestFault + longestFault), "revoke all tokens", s.fleet.Provider.RevokeTokens}}
}

// falseReport has a caller report a token that the provider accepts. No other caller does.
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
				s.Errorf("a caller of %s %v", b.Name, err)
			}
		})
	}}}
}

// secretRotation gives the replicas a new secret at different moments. When all have it,
// the former one ends.
func (s *soak) secretRotation(c *cost) []action {
	credential := s.fleet.Credentials[s.random.IntN(len(s.fleet.Credentials))]
	c.rotated[credential.ID]++
	var client simulator.Client
	var end func()
	told := map[*fleettest.Broker]time.Time{}
	begin := s.moment(latestFault)
	all := []action{{begin, "rotate the secret of " + credential.ID, func() {
		s.rotating[credential.ID].begin()
		client, end = s.fleet.Provider.RotateSecret(credential.Client.ID)
	}}}
	for _, b := range s.fleet.Brokers {
		all = append(all, action{begin + s.moment(longestFault), "tell " + b.Name, func() {
			b.SetClient(credential.ID, client)
			told[b] = time.Now()
		}})
	}
	c.finally = append(c.finally, action{what: "end the former secret", do: func() {
		for _, b := range s.fleet.Brokers {
			s.awaitLoaded(b, told[b])
		}
		end()
	}})
	return all
}

// awaitLoaded waits until a broker has read its files since.
func (s *soak) awaitLoaded(b *fleettest.Broker, since time.Time) {
	s.fleet.Await(b.Name+" has read its files", func() error {
		loaded, err := b.Loaded()
		if err == nil && loaded.Before(since) {
			err = errors.New("it has not")
		}
		return err
	})
}

// recovery is how long it may take until all is well after the last fault. It is less than
// a token waits for its renewal, which would make up for a lot.
func (c *cost) recovery() time.Duration {
	const limit = 4 * time.Second
	if c.failing.IsZero() {
		return limit
	}
	return limit + longestWait(c.failed)
}

// limit is how many token requests a credential may have cost in a round that ends now.
//
// Who has a token renews it when two thirds of its life are over, and replaces it when it
// was revoked or reported; while the provider is down it waits for longer after each request. That is
// the fleet as a whole; while a secret is rotated each secret's part of it; and while Redis
// has a fault, each process. A broker that is killed may have made one request in vain, and
// one that was stopped finds its Redis operations too late and makes one alone.
func (c *cost) limit(credential string) int {
	within := time.Since(c.began)
	requests := 1 + int(within/(soakLife*2/3)) + c.revocations + c.reported[credential]
	if !c.failing.IsZero() {
		requests += mostRequests(time.Since(c.failing))
	}
	makers := 1
	if c.redis {
		makers += c.processes
	}
	return requests*makers*(1+c.rotated[credential]) + c.losses
}
