// Package simulator is an HTTPS server that behaves like SendPulse, Pulsedive,
// Pendo and SpotDraft as far as authentication goes, and like OAuth 2.0 providers
// of a test's own. It answers as the vendors document it, and fails on demand in the
// ways in which providers fail.
//
// Requests need no change: the clients of a [Simulator] ask for the real hosts, such
// as api.sendpulse.com, and arrive here. [Simulator.Transport] goes there over real
// TLS; [Simulator.RoundTripper] calls the server in process, for tests whose clock is
// testing/synctest's; other programs trust [Simulator.CertificatePEM] and connect to
// [Simulator.Addr].
//
//	sim, err := simulator.New()
//	if err != nil {
//		return err
//	}
//	defer sim.Close()
//
//	sim.SendPulse.FailNextTokenRequests(2, simulator.ServiceUnavailable("30"))
//	client := &http.Client{Transport: sim.Transport()}
//	// ... the third token request of client succeeds.
//
// Accounts are random, made anew for each simulator, and valid nowhere else. Their
// secrets double as canaries: [Simulator.Secrets] lists what no log may hold, and
// [Simulator.Leaks] counts what should not have been sent.
//
// Where a vendor's documentation is silent, the doc comment says what the simulator
// does instead. A header or query parameter that authenticates counts only if it
// occurs exactly once. All methods are safe for concurrent use.
package simulator
