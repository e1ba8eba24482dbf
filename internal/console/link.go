package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"net"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	// linkAge is how long a sign-in link can be used.
	linkAge = 5 * time.Minute
	// maxLinks is the maximum number of links that are not used yet.
	maxLinks = 100
)

// links are the sign-in links that are not used yet.
type links struct {
	clock clockwork.Clock
	mu    sync.Mutex
	all   map[key]link
}

type link struct {
	evidence authentication.Evidence
	expires  time.Time
}

func newLinks(clock clockwork.Clock) *links { return &links{clock: clock, all: map[key]link{}} }

var errManyLinks = fault.New(fault.RateLimited, "there are too many unused sign-in links: use one of them, or try again in 5 minutes")

func (l *links) create(evidence authentication.Evidence) (code string, expires time.Time, err error) {
	code, expires = rand.Text(), l.clock.Now().Add(linkAge)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, other := range l.all {
		if !l.clock.Now().Before(other.expires) {
			delete(l.all, k)
		}
	}
	if len(l.all) >= maxLinks {
		return "", time.Time{}, errManyLinks
	}
	l.all[keyOf(code)] = link{evidence, expires}
	return code, expires, nil
}

// use returns the evidence of the caller who requested a link, and invalidates the link. The result is
// false if there is no such link, or if the link has expired.
func (l *links) use(code string) (authentication.Evidence, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(code)
	found, known := l.all[k]
	delete(l.all, k)
	return found.evidence, known && l.clock.Now().Before(found.expires)
}

var errNotPrivate = fault.New(fault.AccessDenied,
	"sign-in links are created only for calls over a Unix socket that only the broker's user can open (mode 0600): use the address of such a socket, or sign in to the console with a token")

// SignInLink returns a link that signs in one person, once, as the caller with this evidence, and the
// time until which the link can be used. The caller must have used a private socket.
func (c *Console) SignInLink(ctx context.Context, evidence authentication.Evidence) (location string, expires time.Time, err error) {
	caller, err := c.options.Identify(ctx, evidence)
	if err != nil {
		return "", time.Time{}, err
	}
	code := ""
	if caller.PrivateSocket {
		code, expires, err = c.links.create(evidence)
	} else {
		err = errNotPrivate
	}
	if err = c.record(ctx, audit.Record{Caller: caller, Operation: audit.CreateSignInLink}, err); err != nil {
		c.links.use(code) // nobody gets this link, so it must not count
		return "", time.Time{}, err
	}
	return c.URL() + "/sign-in?code=" + code, clock.Wall(c.options.Clock, expires), nil
}

// ListensAt sets the address of the listener. If the port in the configuration is 0, sign-in links
// contain the port of this address. Call ListensAt before the console is served.
func (c *Console) ListensAt(address net.Addr) {
	_, c.port, _ = net.SplitHostPort(address.String())
}

// URL returns the address of the console, without a slash at the end.
func (c *Console) URL() string {
	if c.options.Config.URL != "" {
		return c.options.Config.URL
	}
	scheme := "http://"
	if c.options.Secure {
		scheme = "https://"
	}
	host, port, _ := net.SplitHostPort(c.options.Config.Address.Address)
	return scheme + net.JoinHostPort(host, cmp.Or(c.port, port))
}
