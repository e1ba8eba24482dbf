package simulator

import "github.com/jonboulle/clockwork"

// Option changes what [New] makes.
type Option interface{ apply(*settings) }

type settings struct {
	clock     clockwork.Clock
	hosts     []string
	inProcess bool
}

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithClock sets the clock by which tokens expire. Default: the real one, which is
// also the right one in a testing/synctest bubble. Certificates are valid by the time
// of the process, whatever clock this is.
func WithClock(clock clockwork.Clock) Option {
	return optionFunc(func(s *settings) { s.clock = clock })
}

// WithHosts adds host names or IP addresses, without ports, to the server's
// certificate, for providers of a test's own beyond [ExampleHost]. Repeated use adds
// up.
func WithHosts(hosts ...string) Option {
	return optionFunc(func(s *settings) { s.hosts = append(s.hosts, hosts...) })
}

// InProcess makes a simulator that does not listen: [Simulator.RoundTripper] and
// [Simulator.Handler] are the only ways in. It runs no goroutine between requests, so
// it may be made inside a testing/synctest bubble.
func InProcess() Option {
	return optionFunc(func(s *settings) { s.inProcess = true })
}
