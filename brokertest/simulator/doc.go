// Package simulator is an HTTPS server that authenticates requests as SendPulse, Pulsedive, Pendo
// and SpotDraft do, and as OAuth 2.0 providers that a test defines. The server answers as these
// vendors document. If a test asks for it, the server fails in the ways in which real providers
// fail.
//
// The server also simulates every other built-in provider, and providers that a user defines in YAML,
// from their definitions. [Simulator.AddAccount] returns an account at such a provider:
//
//	account, err := sim.AddAccount(simulator.AccountConfig{Provider: "mailgun", AuthMethod: "api_key"})
//	if err != nil {
//		return err
//	}
//	// ... a credential with account.Values() works for the hosts in account.Hosts().
//	account.RejectKey()
//	// ... now the simulated Mailgun rejects it.
//
// Such a simulation knows only what the definition states. It shows that a program handles the
// provider's credentials as the definition describes, and not that the definition is right.
//
// Clients use the providers' real host names, such as api.sendpulse.com, but connect to the
// [Simulator], so the tested code needs no change. [Simulator.Transport] connects over real TLS.
// [Simulator.RoundTripper] calls the server in process, for tests in a testing/synctest bubble.
// Other programs trust [Simulator.CertificatePEM] and connect to [Simulator.Addr].
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
// Each simulator creates random accounts, which are valid only at that simulator. For tests that
// look for leaked secrets, [Simulator.Secrets] lists values that no log may contain, and
// [Simulator.Leaks] counts requests that should not have been sent.
//
// If a vendor does not document a behaviour, the doc comment describes how the simulator
// behaves. A header or query parameter with a secret authenticates a request only if it occurs
// exactly once. All methods are safe for concurrent use.
package simulator
