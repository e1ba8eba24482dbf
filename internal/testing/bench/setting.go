package main

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	plain     = "plain" // unencrypted TCP, no authentication, no grants, no audit
	mutualTLS = "mtls"  // TLS 1.3 with client certificates; the broker has grants and an audit file
)

// setting is one comparison of the broker with do-nothing servers.
type setting struct {
	security string
	audit    string // audit mode, or empty
	// callers, connections and identities are the numbers of concurrent callers, of the connections
	// that they share, and of the client certificates of these connections.
	callers, connections, identities int
	// credential is the ID that callers request. If `ids` is not 0, there are that many IDs, which
	// consist of `credential` and a number, and each call requests a random one of them.
	credential string
	ids        int
	batch      int  // number of IDs in each batch; 0 if the calls are not batches
	short      bool // whether the setting is also measured without the flag -full
	goal       goal
}

// goal contains the ratios to a do-nothing server that the project promises for a setting: a
// minimum for calls per second, and maxima for CPU time and the p99 latency. In the fields with
// "Equal" in their names the do-nothing server has the broker's transport options, and in the other
// fields grpc-go's defaults. A field is 0 if there is no goal for its ratio.
type goal struct {
	calls, callsEqual float64
	cpu, cpuEqual     float64
	p99               float64
}

// name returns the name that the flag -only selects.
func (s setting) name() string {
	parts := []string{s.security}
	if s.audit != "" {
		parts = append(parts, s.audit)
	}
	parts = append(parts, s.credential)
	if s.ids > 0 {
		parts = append(parts, fmt.Sprintf("%dids", s.ids))
	}
	if s.batch > 0 {
		parts = append(parts, fmt.Sprintf("batch%d", s.batch))
	}
	if s.identities > 1 {
		parts = append(parts, fmt.Sprintf("%didentities", s.identities))
	}
	return strings.Join(append(parts, fmt.Sprintf("%dconnections", s.connections), fmt.Sprintf("%dcallers", s.callers)), "/")
}

func (s setting) task(chosen options) task {
	told := task{
		Credential: s.credential, IDs: s.ids, Batch: s.batch,
		Callers: s.callers, Connections: s.connections, Identities: max(1, s.identities),
		Rounds: chosen.rounds, RoundDuration: chosen.roundDuration, Audit: s.audit,
	}
	if s.ids > 0 {
		told.Credentials = s.ids + simulatedCredentials
	}
	return told
}

func settings() []setting {
	var all []setting
	add := func(s setting) { all = append(all, s) }
	for _, callers := range []int{1, 64} {
		call := setting{callers: callers, connections: 1, credential: warmToken, short: true}

		open := call
		open.security, open.goal = plain, goal{calls: 1, callsEqual: 0.98, cpu: 1, cpuEqual: 1.05, p99: 1.1}
		add(open)
		bestEffort := call
		bestEffort.security, bestEffort.audit, bestEffort.goal = mutualTLS, "best_effort", open.goal
		add(bestEffort)
		required := call
		required.security, required.audit, required.goal = mutualTLS, "required", goal{calls: 1, callsEqual: 0.93, cpu: 1, cpuEqual: 1.05, p99: 1.1}
		add(required)

		for _, credential := range []string{smallKey, mediumKey, largeKey} {
			sized := open
			sized.credential, sized.short = credential, false
			add(sized)
		}
	}
	required := setting{security: mutualTLS, audit: "required", callers: 64, connections: 64, credential: warmToken, short: true}
	required.goal = goal{calls: 0.95, callsEqual: 0.9}
	add(required)
	required.identities, required.goal, required.short = 16, goal{}, false
	add(required)
	many := setting{security: mutualTLS, audit: "required", callers: 64, connections: 1}
	many.credential = mediumKey
	add(many) // for comparison with the next setting, in which the calls request many IDs
	many.credential, many.ids, many.short = bulkPrefix, manyIDs, true
	add(many)
	add(setting{security: mutualTLS, audit: "best_effort", callers: 64, connections: 1, credential: mediumKey, batch: 50, short: true, goal: goal{calls: 0.9}})
	return all
}

func chosenSettings(chosen options) []setting {
	var all []setting
	for _, s := range settings() {
		if chosen.only.MatchString(s.name()) && (s.short || chosen.full || chosen.only.String() != "") {
			all = append(all, s)
		}
	}
	return all
}

var everything = regexp.MustCompile("")
