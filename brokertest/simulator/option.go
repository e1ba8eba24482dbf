package simulator

import "github.com/jonboulle/clockwork"

// Option changes the simulator that [New] creates.
type Option interface{ apply(*settings) }

type settings struct {
	clock     clockwork.Clock
	hosts     []string
	inProcess bool
}

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithClock sets the clock by which tokens expire. Certificates still expire by the real clock.
// Without this option tokens expire by the real clock, which is also correct in a testing/synctest
// bubble.
func WithClock(clock clockwork.Clock) Option {
	return optionFunc(func(s *settings) { s.clock = clock })
}

// WithHosts adds host names or IP addresses, without ports, to the server's certificate. Use it
// for providers that a test defines on other hosts than [ExampleHost]. The option may be used
// repeatedly.
func WithHosts(hosts ...string) Option {
	return optionFunc(func(s *settings) { s.hosts = append(s.hosts, hosts...) })
}

// InProcess makes New create a simulator that does not listen on a port: tests can reach it only by
// [Simulator.RoundTripper] and [Simulator.Handler]. A simulator with this option runs no goroutine
// between requests, so it may be created inside a testing/synctest bubble.
func InProcess() Option {
	return optionFunc(func(s *settings) { s.inProcess = true })
}
