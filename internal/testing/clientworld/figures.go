package clientworld

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge returns the figures of the load. The error lists what the client did wrong.
func (l *load) judge(got *outcome, took time.Duration) (string, error) {
	calls, err := l.calls()
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	renewals, early, problems := judgeTokens(l.issued, l.revoked)
	figures := fmt.Sprintf("%d requests in %.1f s, %d succeeded, %d answers had status 401; "+
		"%d token requests: the first, %d renewals and %d after %d revocations; "+
		"calls: %d GetAuthDecoration, %d WatchAuthDecorations, %d ReportRejection, %d ReportUsage; %s; seed %d",
		loadRequests, took.Seconds(), got.Succeeded, l.refused.Load(),
		len(l.issued), renewals, early, len(l.revoked),
		calls["GetAuthDecoration"], calls["WatchAuthDecorations"], calls["ReportRejection"], calls["ReportUsage"],
		strings.Join(l.faults, ", "), l.seed)
	if got.Succeeded != loadRequests || len(got.Failures) > 0 {
		problems = append(problems, fmt.Sprintf("%d requests failed, such as %q", loadRequests-got.Succeeded, got.Failures[:min(len(got.Failures), 5)]))
	}
	if took < loadTime*9/10 {
		problems = append(problems, fmt.Sprintf("the load took %v, want %v", took, loadTime))
	}
	for method, most := range map[string]int{
		"GetAuthDecoration": mostGets, "WatchAuthDecorations": mostWatches, "ReportRejection": 3 * len(l.revoked),
		"ReportUsage": mostUsages,
	} {
		if calls[method] > most {
			problems = append(problems, fmt.Sprintf("%d calls of %s, want at most %d", calls[method], method, most))
		}
	}
	if problems != nil {
		return "", errors.New(strings.Join(problems, "; ") + "; " + figures)
	}
	return figures, nil
}

// calls returns how many calls of each method all brokers have received.
func (l *load) calls() (map[string]int, error) {
	calls := map[string]int{}
	for _, r := range l.replicas {
		counts, err := r.counted()
		if err != nil {
			return nil, err
		}
		for method, n := range counts {
			calls[method] += n
		}
	}
	return calls, nil
}

// judgeTokens counts the token requests after the first one that renewed a token near its expiry,
// and those that followed a revocation. Any other token request is a problem.
func judgeTokens(issued, revoked []time.Time) (renewals, early int, problems []string) {
	for i := 1; i < len(issued); i++ {
		between := func(t time.Time) bool { return t.After(issued[i-1]) && !t.After(issued[i]) }
		switch distance := issued[i].Sub(issued[i-1]); {
		case slices.ContainsFunc(revoked, between):
			early++
		case distance >= leastLifetime:
			renewals++
		default:
			problems = append(problems, fmt.Sprintf("two token requests within %v without a revocation", distance))
		}
	}
	return renewals, early, problems
}
