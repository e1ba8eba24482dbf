package verification

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// trial is one verification.
type trial struct {
	options    Options
	credential *credentials.Credential
	targets    []*url.URL // the URLs to request
	subject    subject
}

// finding is the result of a trial at one host.
type finding struct {
	outcome     catalog.Outcome
	explanation string
	status      int
}

func (t *trial) result(found finding) Result {
	return Result{
		Outcome: found.outcome, Explanation: found.explanation, HTTPStatus: found.status,
		Time: clock.WallNow(t.options.Clock),
	}
}

// requestToken returns the issued token. If no token was issued, it returns the Result of the
// verification, or an error if the reason is not the provider.
func (t *trial) requestToken(ctx context.Context) (*token.Token, Result, error) {
	source, err := strategies.NewTokenSource(t.credential, t.options.TokenClient)
	if err != nil {
		return nil, Result{}, fault.Opaque()
	}
	issued, event := source.TryToken(ctx)
	switch failure := event.Err; {
	case failure == nil:
		return issued, Result{}, nil
	case failure.Reason == fault.RateLimited, failure.Reason == fault.StoreUnavailable, failure.Reason == fault.Internal:
		return nil, Result{}, failure
	default:
		return nil, t.result(t.withoutToken(event)), nil
	}
}

// tryHosts asks the hosts of the credential one after the other until one accepts it. If no host
// accepts it, the credential is refused only if all hosts refuse it.
func (t *trial) tryHosts(ctx context.Context, value secret.Text) (Result, error) {
	material, err := strategies.Place(t.credential, value)
	if err != nil {
		return Result{}, fault.Opaque()
	}
	var decisive finding
	for i, target := range t.targets {
		where := ""
		if len(t.targets) > 1 {
			where = " at " + target.Host
		}
		found := t.ask(ctx, target, material, where)
		if found.outcome == catalog.Accepted {
			return t.result(found), nil
		}
		if i == 0 || decisive.outcome == catalog.Refused && found.outcome == catalog.Inconclusive {
			decisive = found
		}
	}
	return t.result(decisive), nil
}

// targetsOf returns the URLs to request. The hosts that the credential adds come first, because
// somebody added them for this credential. An error quotes no value.
func targetsOf(credential *credentials.Credential) ([]*url.URL, error) {
	definition := credential.Method.Verification
	if definition.URL != nil {
		target, err := strategies.Evaluate(definition.URL, credential)
		return []*url.URL{target}, err
	}
	provided, err := strategies.Hosts(credential, nil)
	if err != nil {
		provided = nil // the credential adds all hosts
	}
	own := slices.DeleteFunc(slices.Clone(credential.AllowedHosts), func(host string) bool { return slices.Contains(provided, host) })
	var targets []*url.URL
	for _, host := range slices.Concat(own, provided) {
		if target, err := url.Parse("https://" + host + definition.Path); err == nil { // parsing does not fail, because hosts and paths were checked before
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// ask sends one verification request, of at most 10 seconds.
func (t *trial) ask(ctx context.Context, target *url.URL, material strategies.Material, where string) finding {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	definition := t.credential.Method.Verification
	switch address, _ := netip.ParseAddr(target.Hostname()); {
	case definition.AllowPrivateAddresses:
		ctx = egress.AllowPrivate(ctx)
	case definition.URL == nil && address.Unmap().IsLoopback():
		return t.unreachable(where) // such a host may have been added by a manager, and package egress would send the request to it
	}
	request, err := http.NewRequestWithContext(ctx, definition.Method, target.String(), nil)
	if err != nil {
		return t.unreachable(where)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", t.options.UserAgent)
	material.Decorate(request)
	// A RoundTripper follows no redirects and has no cookies.
	response, err := t.options.Transport.RoundTrip(request)
	if err != nil {
		return t.unreachable(where)
	}
	defer response.Body.Close()
	answer, err := readAnswer(response)
	if err != nil {
		return t.unreachable(where)
	}
	return t.interpret(answer, where)
}
