package broker

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// staticRefresh is the time from a call to the RefreshTime of the static material that the call
	// returns.
	staticRefresh = 5 * time.Minute
	// minRefresh is the minimum time from making a decoration to its RefreshTime.
	minRefresh  = time.Second
	versionSize = 16
)

// Decoration is the material for one request, with the rules for using it. It is immutable.
type Decoration struct {
	CredentialID string
	// Version changes whenever the material changes, and reveals nothing about it.
	Version  string
	Material strategies.Material
	// ExpireTime is the time from which the material must not be used, or zero if the material does
	// not expire. The times in the exported fields are wall-clock times.
	ExpireTime time.Time
	// RefreshTime is when a caller that caches the decoration should request a new one.
	RefreshTime time.Time
	// AllowedHosts are the only hosts to which the material may be sent.
	AllowedHosts []string
	// RejectedStatuses are the HTTP statuses that mean that the provider rejects the material.
	RejectedStatuses []int
	// RejectedWhen describes further answers with which the provider rejects the material.
	RejectedWhen []catalog.Condition
	// LastRejectionTime is when this replica last received a report that the provider rejected this
	// version of static material, or zero if there was no such report.
	LastRejectionTime time.Time
	// Encoded is the result of Options.Encode, or nil if Options.Encode is nil.
	Encoded []byte

	number    int           // number of the version; 0 for a declared credential
	token     *token.Token  // the token in the material; nil if the material is static
	since     time.Time     // when the account's first decoration was made, by Options.Clock
	rejection *rejection    // the report that LastRejectionTime refers to; nil if there is none
	refresh   time.Time     // RefreshTime as a time of Options.Clock
	expiry    time.Time     // ExpireTime as a time of Options.Clock
	reuse     time.Time     // until this time of Options.Clock, later calls may get the same Decoration
	offset    time.Duration // the wall-clock time minus the time of Options.Clock, when the Decoration was made
}

// makeDecoration is called only by decorate.
func (b *Broker) makeDecoration(a *account, t *token.Token, now time.Time) (*Decoration, error) {
	d := &Decoration{
		CredentialID: a.credential.ID, AllowedHosts: a.credential.AllowedHosts,
		RejectedStatuses: a.credential.Method.RejectedStatuses, RejectedWhen: a.credential.Method.RejectedWhen,
		number: a.version, token: t, rejection: a.rejection.Load(), since: now,
	}
	if t != nil {
		d.expiry = t.ExpireTime()
	}
	latest := a.latest.Load()
	if latest != nil {
		d.since = latest.since
	}
	if latest != nil && latest.token == t {
		d.Material, d.Version = latest.Material, latest.Version
	} else {
		var err error
		if d.Material, err = place(a, t); err != nil {
			return nil, fmt.Errorf("place the token: %w", err)
		}
		d.Version = version(b.options.VersionKeys[0], d.CredentialID, d.Material)
	}
	d.refresh, d.reuse = refreshTime(t, now)
	b.finish(d, now)
	a.latest.Store(d)
	if latest == nil || latest.LastRejectionTime.IsZero() != d.LastRejectionTime.IsZero() {
		b.noteState(d.CredentialID)
	}
	return d, nil
}

// refreshTime computes the RefreshTime of a decoration that is made now. Later calls get the same
// decoration until the time `until`; then a decoration with a later RefreshTime must be made.
func refreshTime(t *token.Token, now time.Time) (refresh, until time.Time) {
	switch {
	case t == nil:
		second := now.Truncate(time.Second)
		return second.Add(staticRefresh), second.Add(time.Second)
	case t.RefreshTime().Before(now.Add(minRefresh)): // the token should have been renewed already
		return now.Add(minRefresh), now.Add(minRefresh / 10)
	default:
		return t.RefreshTime(), t.RefreshTime().Add(-minRefresh)
	}
}

func (b *Broker) finish(d *Decoration, now time.Time) {
	d.offset = b.wall(now).Sub(now)
	d.ExpireTime, d.RefreshTime = b.wall(d.expiry), b.wall(d.refresh)
	if d.rejection != nil && d.rejection.version == d.Version {
		d.LastRejectionTime = b.wall(d.rejection.at)
	}
	if b.options.Encode != nil {
		d.Encoded = b.options.Encode(d)
	}
}

// versions returns the versions of the decoration with this token: one for each of
// Options.VersionKeys. This replica serves the decoration with the first version; other replicas of
// the fleet may serve it with any of them. The token is nil for static material.
func (b *Broker) versions(a *account, t *token.Token) []string {
	material, err := place(a, t)
	if err != nil {
		return nil
	}
	var versions []string
	for _, key := range b.options.VersionKeys {
		versions = append(versions, version(key, a.credential.ID, material))
	}
	return versions
}

// `place` computes an account's material from a token, which is nil for static material.
func place(a *account, t *token.Token) (strategies.Material, error) {
	var value secret.Text
	if t != nil {
		value = t.Value
	}
	return strategies.Place(a.credential, value)
}

// version computes a decoration's version: an HMAC of the credential ID and the material.
func version(key []byte, credentialID string, material strategies.Material) string {
	parts := []string{credentialID}
	for _, pairs := range [][]strategies.Pair{material.Headers, material.QueryParams} {
		parts = append(parts, strconv.Itoa(len(pairs)))
		for _, pair := range pairs {
			name := pair.Name
			if pair.OnlyIfAbsent {
				name += " only if absent" // no name of a header contains a space
			}
			parts = append(parts, name, pair.Value.Reveal())
		}
	}
	return base64.RawURLEncoding.EncodeToString(secret.Digest(key, parts...)[:versionSize])
}
