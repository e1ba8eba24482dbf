package broker

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// staticRefresh is how far ahead the RefreshTime of static material lies.
	staticRefresh = 5 * time.Minute
	// leastRefresh is how far ahead a RefreshTime lies at least.
	leastRefresh = time.Second
	// versionSize is how much of the HMAC a version shows, in bytes.
	versionSize = 16
)

// noToken is the token of static material.
var noToken secret.Text

// Decoration is the material for one request. It is not changed once made.
type Decoration struct {
	CredentialID string
	// Version changes whenever the material does, and does not give it away.
	Version  string
	Material strategies.Material
	// ExpireTime is from when on the material must not be used; zero: never.
	ExpireTime time.Time
	// RefreshTime is when a caller that keeps a copy should ask again.
	RefreshTime time.Time
	// AllowedHosts are the hosts to which alone the material may be sent.
	AllowedHosts []string
	// RejectedStatuses are the HTTP statuses that mean that it is rejected.
	RejectedStatuses []int
	// LastRejectionTime is when a caller last reported this version as rejected, where it
	// is static. Zero: none did, to this replica.
	LastRejectionTime time.Time
}

// decorated is a decoration and the token in it; nil for static material.
type decorated struct {
	token      *token.Token
	decoration *Decoration
}

// decorate returns the decoration with this token in it; nil for static material.
func (b *Broker) decorate(a *account, t *token.Token) (*Decoration, error) {
	latest := a.latest.Load()
	if latest == nil || latest.token != t {
		made, err := b.newDecoration(a, t)
		if err != nil {
			return nil, err
		}
		latest = &decorated{token: t, decoration: made}
		a.latest.Store(latest)
	}
	now := b.clock.Now()
	refresh := latest.decoration.RefreshTime
	if t == nil {
		refresh = now.Add(staticRefresh)
	} else if soon := now.Add(leastRefresh); refresh.Before(soon) {
		refresh = soon // the renewal is late: callers are not to ask without a pause
	}
	if t != nil && refresh.Equal(latest.decoration.RefreshTime) {
		return latest.decoration, nil
	}
	current := *latest.decoration
	current.RefreshTime = refresh
	if t == nil {
		current.LastRejectionTime = a.lastRejection(current.Version)
	}
	return &current, nil
}

func (b *Broker) newDecoration(a *account, t *token.Token) (*Decoration, error) {
	made := &Decoration{
		CredentialID:     a.credential.ID,
		AllowedHosts:     a.credential.AllowedHosts,
		RejectedStatuses: a.credential.Method.RejectedStatuses,
	}
	var err error
	if t == nil {
		made.Material, err = a.strategy.Material(noToken)
	} else {
		made.Material, err = a.strategy.Material(t.Value)
		made.ExpireTime, made.RefreshTime = t.ExpireTime(), t.RefreshTime()
	}
	if err != nil {
		return nil, fmt.Errorf("place the token: %w", err)
	}
	made.Version = version(b.versionKeys[0], made.CredentialID, made.Material)
	return made, nil
}

// onWall returns the decoration with times that a caller can compare with its own clock. Those
// in the broker are times of its clock, which does not follow when the wall clock is set back.
func (b *Broker) onWall(d *Decoration) *Decoration {
	if d == nil {
		return nil
	}
	refresh := clock.Wall(b.clock, d.RefreshTime)
	if refresh.Equal(d.RefreshTime) {
		return d
	}
	answer := *d
	answer.RefreshTime = refresh
	answer.ExpireTime = clock.Wall(b.clock, d.ExpireTime)
	answer.LastRejectionTime = clock.Wall(b.clock, d.LastRejectionTime)
	return &answer
}

// isVersionOf says whether a caller can have been given d with this version, by any
// replica of the fleet.
func (b *Broker) isVersionOf(d *Decoration, reported string) bool {
	if d.Version == reported {
		return true
	}
	for _, key := range b.versionKeys[1:] {
		if version(key, d.CredentialID, d.Material) == reported {
			return true
		}
	}
	return false
}

// version is an HMAC over the credential ID and the material.
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
