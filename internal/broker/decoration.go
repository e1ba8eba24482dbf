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
	// staticRefresh is the time until the RefreshTime of static material.
	staticRefresh = 5 * time.Minute
	// minRefresh is the minimum time until a RefreshTime.
	minRefresh = time.Second
	// versionSize is how much of its HMAC a version contains, in bytes.
	versionSize = 16
)

// Decoration is the material for one request. It is immutable.
type Decoration struct {
	CredentialID string
	// Version changes whenever the material does, and reveals nothing of it.
	Version  string
	Material strategies.Material
	// ExpireTime is when the material must no longer be used; zero: never. It and the other
	// times are wall-clock times.
	ExpireTime time.Time
	// RefreshTime is when a caller that keeps a copy should ask again.
	RefreshTime time.Time
	// AllowedHosts are the only hosts to which the material may be sent.
	AllowedHosts []string
	// RejectedStatuses are the HTTP statuses that mean that the material was rejected.
	RejectedStatuses []int
	// LastRejectionTime is when a caller last reported this version as rejected to this
	// replica, for static material. Zero: never.
	LastRejectionTime time.Time
	// Encoded is the result of Options.Encode; nil: there is no Encode.
	Encoded []byte

	token     *token.Token  // in the material; nil: the material is static
	rejection *rejection    // in LastRejectionTime; nil: none
	refresh   time.Time     // RefreshTime by Options.Clock
	expiry    time.Time     // ExpireTime by Options.Clock
	reuse     time.Time     // until then, by Options.Clock, the Decoration answers other calls too
	offset    time.Duration // from Options.Clock to the wall clock when the Decoration was made
}

// makeDecoration makes and encodes the decoration that decorate returns.
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

// refreshTime returns the RefreshTime of a decoration that is made now, and until when it is
// far enough ahead.
func refreshTime(t *token.Token, now time.Time) (refresh, until time.Time) {
	switch {
	case t == nil:
		second := now.Truncate(time.Second)
		return second.Add(staticRefresh), second.Add(time.Second)
	case t.RefreshTime().Before(now.Add(minRefresh)): // the renewal is late
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

// versions returns the versions that the replicas of the fleet may give the decoration with a token,
// which is nil for static material: one for each version key, this replica's first.
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

// place returns the material of an account with a token, which is nil for static material.
func place(a *account, t *token.Token) (strategies.Material, error) {
	var value secret.Text
	if t != nil {
		value = t.Value
	}
	return strategies.Place(a.credential, value)
}

// version is an HMAC of the credential ID and the material.
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
