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
	// Encoded is what Options.Encode made of it; nil: there is no Encode.
	Encoded []byte

	// answer is the same with times that a caller can compare with its own clock. Those in the
	// broker are times of its clock, which does not follow when the wall clock is set back.
	answer *Decoration
}

// decorated is a decoration as it is served for a while.
type decorated struct {
	decoration *Decoration
	token      *token.Token // in it; nil: it is static material
	rejected   *rejection   // in it; nil: none
	// until is when its refresh time is too near, and shift how far the wall clock was set from
	// the Broker's when it was encoded.
	until time.Time
	shift time.Duration
}

// decorateAnew makes and encodes the decoration with this token in it; nil for static material.
func (b *Broker) decorateAnew(a *account, t *token.Token, now time.Time) (*Decoration, error) {
	latest := a.latest.Load()
	made := &decorated{token: t, shift: b.wall(now).Sub(now), rejected: a.rejected.Load()}
	if latest != nil && latest.token == t {
		made.decoration = latest.decoration.clone()
	} else {
		var err error
		if made.decoration, err = b.newDecoration(a, t); err != nil {
			return nil, err
		}
	}
	made.until = made.decoration.refreshAt(now, t)
	if t == nil {
		made.decoration.LastRejectionTime = made.rejected.timeOf(made.decoration.Version)
	}
	b.setAnswer(made.decoration)
	a.latest.Store(made)
	return made.decoration, nil
}

// refreshAt sets the refresh time as of now, and returns until when that one is served.
func (d *Decoration) refreshAt(now time.Time, t *token.Token) (until time.Time) {
	switch {
	case t == nil:
		second := now.Truncate(time.Second)
		d.RefreshTime = second.Add(staticRefresh)
		return second.Add(time.Second)
	case t.RefreshTime().Before(now.Add(leastRefresh)):
		// The renewal is late: callers are not to ask without a pause.
		d.RefreshTime = now.Add(leastRefresh)
		return now.Add(leastRefresh / 10)
	default:
		d.RefreshTime = t.RefreshTime()
		return t.RefreshTime().Add(-leastRefresh)
	}
}

func (d *Decoration) clone() *Decoration {
	copied := *d
	copied.answer = nil
	return &copied
}

// setAnswer sets the answer of a decoration, encoded.
func (b *Broker) setAnswer(d *Decoration) {
	answer := d.clone()
	answer.ExpireTime = b.wall(d.ExpireTime)
	answer.RefreshTime = b.wall(d.RefreshTime)
	answer.LastRejectionTime = b.wall(d.LastRejectionTime)
	if b.encode != nil {
		answer.Encoded = b.encode(answer)
	}
	d.answer = answer
}

// forCallers returns what callers get of a decoration, which may be nil.
func (d *Decoration) forCallers() *Decoration {
	if d == nil {
		return nil
	}
	return d.answer
}

func (b *Broker) newDecoration(a *account, t *token.Token) (*Decoration, error) {
	made := &Decoration{
		CredentialID:     a.credential.ID,
		AllowedHosts:     a.credential.AllowedHosts,
		RejectedStatuses: a.credential.Method.RejectedStatuses,
	}
	var err error
	if t == nil {
		made.Material, err = strategies.Place(a.credential, noToken)
	} else {
		made.Material, err = strategies.Place(a.credential, t.Value)
		made.ExpireTime = t.ExpireTime()
	}
	if err != nil {
		return nil, fmt.Errorf("place the token: %w", err)
	}
	made.Version = version(b.versionKeys[0], made.CredentialID, made.Material)
	return made, nil
}

// isVersionOf reports whether a caller can have been given d with this version, by any
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
