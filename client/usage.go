package client

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// usageInterval is the time between the first use that is not reported yet and its report.
	usageInterval = time.Minute
	// maxUses is the maximum number of uses in a call of ReportUsage.
	maxUses = 100
	// maxRepeatedUses is the maximum number of uses that are reported again after a failure.
	maxRepeatedUses = 1000
	// usageTimeout is the timeout of all calls for one report.
	usageTimeout = 10 * time.Second
	// lastUsageTimeout is the timeout of the report when the client is closed.
	lastUsageTimeout = 2 * time.Second
)

// usage contains the versions whose uses will be reported.
type usage struct {
	versions    map[versionUse]struct{}
	due         time.Time   // the time of the report, by the client's clock
	timer       *time.Timer // reports if no request does it
	unsupported bool        // the broker does not have the method ReportUsage
}

type versionUse struct{ credentialID, version string }

// use records that a decoration is sent with a request. Most calls do nothing, because the use is
// recorded already.
func (c *credential) use(p *prepared, now time.Time) {
	if now.Unix() >= p.nextUse.Load() {
		c.record(p, now)
	}
}

func (c *credential) record(p *prepared, now time.Time) {
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if c.client.closed {
		return
	}
	c.lastUse = now
	if c.client.usage.unsupported {
		p.nextUse.Store(now.Add(usageInterval).Unix()) // for lastUse
		return
	}
	c.client.reportDueUses(now)
	c.client.addUses(now, versionUse{c.id, p.version()})
	p.nextUse.Store(c.client.usage.due.Unix())
}

func (c *Client) addUses(now time.Time, uses ...versionUse) {
	u := &c.usage
	if len(u.versions) == 0 {
		u.versions = map[versionUse]struct{}{}
		u.due = now.Add(usageInterval)
		u.timer = time.AfterFunc(usageInterval, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.reportDueUses(c.now())
		})
	}
	for _, use := range uses {
		u.versions[use] = struct{}{}
	}
}

// reportDueUses starts a report in the background if it is due.
func (c *Client) reportDueUses(now time.Time) {
	if c.closed || len(c.usage.versions) == 0 || now.Before(c.usage.due) {
		return
	}
	uses := c.takeUses()
	c.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(c.running, usageTimeout)
		defer cancel()
		err := c.reportUses(ctx, uses)
		c.mu.Lock()
		defer c.mu.Unlock()
		if status.Code(err) == codes.Unimplemented {
			c.usage.unsupported = true
		} else if err != nil {
			c.addUses(c.now(), uses[:min(len(uses), maxRepeatedUses)]...)
		}
	})
}

func (c *Client) takeUses() (uses []versionUse) {
	if c.usage.timer != nil {
		c.usage.timer.Stop()
	}
	for use := range c.usage.versions {
		uses = append(uses, use)
	}
	c.usage.versions = nil
	slices.SortFunc(uses, func(a, b versionUse) int {
		return cmp.Or(cmp.Compare(a.credentialID, b.credentialID), cmp.Compare(a.version, b.version))
	})
	return uses
}

func (c *Client) reportUses(ctx context.Context, uses []versionUse) error {
	for some := range slices.Chunk(uses, maxUses) {
		request := &authmaterialv1.ReportUsageRequest{}
		for _, use := range some {
			request.Uses = append(request.Uses, &authmaterialv1.VersionUse{CredentialId: use.credentialID, Version: use.version})
		}
		if _, err := c.broker.ReportUsage(ctx, request); err != nil {
			return err
		}
	}
	return nil
}

// reportLastUses reports the uses that are not reported yet when the client is closed.
func (c *Client) reportLastUses() {
	c.mu.Lock()
	uses := c.takeUses()
	unsupported := c.usage.unsupported
	c.mu.Unlock()
	if unsupported {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastUsageTimeout)
	defer cancel()
	_ = c.reportUses(ctx, uses) // nobody can do anything about an error
}
