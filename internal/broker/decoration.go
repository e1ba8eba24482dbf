package broker

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// staticRefresh is the time from making a decoration of static material until its
	// RefreshTime.
	staticRefresh = 5 * time.Minute
	// minRefresh is the minimum time from making a decoration until its RefreshTime.
	minRefresh = time.Second
	// versionSize is how many bytes of the HMAC a version contains.
	versionSize = 16
)

// Decoration is the material for one request. It is immutable.
type Decoration struct {
	CredentialID string
	// Version changes whenever the material changes. It reveals nothing about the material.
	Version  string
	Material strategies.Material
	// ExpireTime is when the material must no longer be used; zero: never. All times in the
	// exported fields are wall-clock times.
	ExpireTime time.Time
	// RefreshTime is when a caller that caches the decoration should request a new one.
	RefreshTime time.Time
	// AllowedHosts are the only hosts to which the material may be sent.
	AllowedHosts []string
	// RejectedStatuses are the HTTP statuses by which the provider rejects the material.
	RejectedStatuses []int
	// LastRejectionTime is the time of the latest report to this replica that the provider
	// rejected this version of static material. Zero: no such report.
	LastRejectionTime time.Time
	// Encoded is the result of Options.Encode; nil if Options.Encode is nil.
	Encoded []byte

	token     *token.Token  // the token in the material; nil: the material is static
	rejection *rejection    // the rejection of LastRejectionTime; nil: none
	refresh   time.Time     // RefreshTime as a time of Options.Clock
	expiry    time.Time     // ExpireTime as a time of Options.Clock
	reuse     time.Time     // until this time of Options.Clock, later calls may get the same Decoration
	offset    time.Duration // the wall-clock time minus the time of Options.Clock, when the Decoration was made
}

// makeDecoration makes and encodes a decoration for the method decorate.
func (b *Broker) makeDecoration(a *account, t *token.Token, now time.Time) (*Decoration, error) {
	d := &Decoration{
		CredentialID: a.credential.ID, AllowedHosts: a.credential.AllowedHosts,
		RejectedStatuses: a.credential.Method.RejectedStatuses,
		token:            t, rejection: a.rejection.Load(),
	}
	if t != nil {
		d.expiry = t.ExpireTime()
	}
	if latest := a.latest.Load(); latest != nil && latest.token == t {
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
	return d, nil
}

// refreshTime returns the RefreshTime of a decoration that is made now. until is when this
// RefreshTime becomes too near for other calls to get the same decoration.
func refreshTime(t *token.Token, now time.Time) (refresh, until time.Time) {
	switch {
	case t == nil:
		second := now.Truncate(time.Second)
		return second.Add(staticRefresh), second.Add(time.Second)
	case t.RefreshTime().Before(now.Add(minRefresh)): // the renewal of the token is late
		return now.Add(minRefresh), now.Add(minRefresh / 10)
	default:
		return t.RefreshTime(), t.RefreshTime().Add(-minRefresh)
	}
}

// finish sets the wall-clock times of a decoration, and encodes it.
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

// versions returns the versions that the fleet's replicas may give the decoration with a token:
// one version for each version key, the version of this replica first. The token is nil for
// static material.
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

// place returns the material of an account with a token. The token is nil for static material.
func place(a *account, t *token.Token) (strategies.Material, error) {
	var value secret.Text
	if t != nil {
		value = t.Value
	}
	return strategies.Place(a.credential, value)
}

// version returns an HMAC of the credential ID and the material.
func version(key []byte, credentialID string, material strategies.Material) string {
	parts := []string{credentialID}
	for _, pairs := range [][]strategies.Pair{material.Headers, material.QueryParams} {
		parts = append(parts, strconv.Itoa(len(pairs)))
		for _, pair := range pairs {
			parts = append(parts, pair.Name, pair.Value.Reveal())
		}
	}
	return base64.RawURLEncoding.EncodeToString(secret.Digest(key, parts...)[:versionSize])
}
