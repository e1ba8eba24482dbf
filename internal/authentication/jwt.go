package authentication

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jonboulle/clockwork"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/clock"
)

// Issuer makes JSON Web Tokens for callers.
type Issuer struct {
	// Name is what callers' names say: `jwt:NAME:SUBJECT`. It has no colon.
	Name string
	// Issuer is the claim "iss" of its tokens. Several issuers may have the same, such as
	// the clusters of a fleet: their keys tell them apart.
	Issuer string
	// Audiences are what a token's claim "aud" has one of. At least one.
	Audiences []string
	// Algorithms are those that count, of Algorithms. Empty: all of them.
	Algorithms []string
	// Keys are those of a file. Nil: they are at URL.
	Keys *Keys
	// URL is where the keys are: https. RootCAs vouch for the server; nil: the system's.
	URL     string
	RootCAs *x509.CertPool
	// AllowPrivate lets the host of URL have a private, local or special address.
	AllowPrivate bool
}

// maxVerified is how many tokens are remembered that were verified. One that is forgotten
// is verified again.
const maxVerified = 4096

// defaultMaxAge is how long fetched keys are used before they are fetched again.
const defaultMaxAge = 5 * time.Minute

// JWTOptions configure a JWT. The zero value is usable.
type JWTOptions struct {
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// Logger gets what an operator has to know of keys that cannot be fetched. Default:
	// nothing is logged.
	Logger *slog.Logger
	// MaxAge is how long fetched keys are used before they are fetched again. Default: 5
	// minutes. An answer's own headers can make it less, down to a minute.
	MaxAge time.Duration
	// Changed is called when the keys of an issuer are others than before: a token that was
	// good may be so no longer. It must not block. Default: nothing is.
	Changed func()
}

// JWT identifies callers by JSON Web Tokens: `jwt:ISSUER:SUBJECT`. A token is verified
// once, and again when its issuer's keys change. Close ends it.
type JWT struct {
	options JWTOptions
	using   sync.Mutex // held while state changes
	state   atomic.Pointer[Issuers]
}

// Issuers are those of one configuration, an Authenticator. They can be asked before and
// after a JWT uses them; keys at a URL are fetched from when they are prepared to when it
// uses others.
type Issuers struct {
	clock    clockwork.Clock
	issuers  map[string][]*issuer // by the claim "iss"
	fetching []*remoteKeys
	verified *lru.Cache[[sha256.Size]byte, verified]
}

// verified is a token that was found good.
type verified struct {
	caller access.Caller // without the address
	issuer *issuer
	keys   *Keys // that it was verified with
}

// NewJWT returns a JWT without issuers.
func NewJWT(options JWTOptions) *JWT {
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.MaxAge == 0 {
		options.MaxAge = defaultMaxAge
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	j := &JWT{options: options}
	j.state.Store(&Issuers{clock: options.Clock})
	return j
}

// Close ends the fetching of keys.
func (j *JWT) Close() { j.Use(&Issuers{clock: j.options.Clock}) }

// Prepare returns these issuers for Use, or for Discard. Fetched keys are those of the
// issuers in use where URL, RootCAs and AllowPrivate are the same.
func (j *JWT) Prepare(issuers []Issuer) (*Issuers, error) {
	j.using.Lock()
	defer j.using.Unlock()
	before := j.state.Load()
	after := &Issuers{clock: j.options.Clock, issuers: map[string][]*issuer{}}
	var err error
	if after.verified, err = lru.New[[sha256.Size]byte, verified](maxVerified); err != nil {
		return nil, err
	}
	for _, settings := range issuers {
		made := newIssuer(settings)
		if settings.Keys == nil {
			if made.remote, err = j.fetch(settings, before, after); err != nil {
				after.closeBut(before)
				return nil, err
			}
		}
		after.issuers[settings.Issuer] = append(after.issuers[settings.Issuer], made)
	}
	return after, nil
}

// Use takes issuers in place of those before.
func (j *JWT) Use(issuers *Issuers) {
	j.using.Lock()
	defer j.using.Unlock()
	j.state.Swap(issuers).closeBut(issuers)
}

// Discard ends the fetching of issuers that are not used.
func (j *JWT) Discard(issuers *Issuers) {
	j.using.Lock()
	defer j.using.Unlock()
	issuers.closeBut(j.state.Load())
}

// fetch returns the keys at an issuer's URL: those of after or before, or new ones.
func (j *JWT) fetch(settings Issuer, before, after *Issuers) (*remoteKeys, error) {
	at := keyServer{settings.URL, settings.RootCAs, settings.AllowPrivate}
	for _, known := range after.fetching {
		if known.at.same(at) {
			return known, nil
		}
	}
	for _, known := range before.fetching {
		if known.at.same(at) {
			after.fetching = append(after.fetching, known)
			return known, nil
		}
	}
	made, err := newRemoteKeys(at, fetchOptions{
		clock:   j.options.Clock,
		most:    j.options.MaxAge,
		observe: reportFetching(j.options.Logger, settings.Name),
		changed: j.options.Changed,
		ignored: reportIgnored(j.options.Logger, settings.Name),
	})
	if err == nil {
		after.fetching = append(after.fetching, made)
	}
	return made, err
}

// closeBut ends the fetching of what others do not fetch.
func (s *Issuers) closeBut(others *Issuers) {
	kept := map[*remoteKeys]bool{}
	for _, remote := range others.fetching {
		kept[remote] = true
	}
	for _, remote := range s.fetching {
		if !kept[remote] {
			remote.close()
		}
	}
}

// Authenticate implements Authenticator, by the issuers in use.
func (j *JWT) Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error) {
	return j.state.Load().Authenticate(ctx, evidence)
}

// Authenticate implements Authenticator.
func (s *Issuers) Authenticate(ctx context.Context, evidence Evidence) (access.Caller, error) {
	token := evidence.Bearer.Reveal()
	if token == "" || strings.HasPrefix(token, TokenPrefix) || len(s.issuers) == 0 {
		return access.Caller{}, ErrNoEvidence
	}
	digest := sha256.Sum256([]byte(token))
	now := clock.WallNow(s.clock)
	known, ok := s.verified.Get(digest)
	if !ok || known.keys != known.issuer.held() || !now.Before(known.caller.ExpireTime) {
		t := bearerToken{text: token, digest: digest, proved: ok || evidence.Proved}
		var err error
		if known, err = s.verify(ctx, t, now); err != nil {
			return access.Caller{}, err
		}
		s.verified.Add(digest, known)
	}
	known.caller.Address = evidence.Address
	return known.caller, nil
}

// bearerToken is what a call brings.
type bearerToken struct {
	text   string
	digest [sha256.Size]byte
	proved bool // it was good before: if its key is not there, it was withdrawn
}

// header is what a token says of itself. Nothing of it is proved.
type header struct {
	algorithm jwa.SignatureAlgorithm
	keyID     string
	issuer    string
}

// readHeader returns false for a text that is no signed token.
func readHeader(token string) (header, bool) {
	message, err := jws.ParseString(token, jws.WithCompact())
	if err != nil || len(message.Signatures()) != 1 {
		return header{}, false
	}
	var h header
	protected := message.Signatures()[0].ProtectedHeaders()
	h.algorithm, _ = protected.Algorithm()
	h.keyID, _ = protected.KeyID()
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(message.Payload(), &claims) != nil {
		return header{}, false
	}
	h.issuer = claims.Issuer
	return h, true
}

// verify finds out who calls with a token. It asks the issuers first that have its key at
// hand, so that no other is asked for a key that is not its own.
func (s *Issuers) verify(ctx context.Context, token bearerToken, now time.Time) (verified, error) {
	if len(token.text) > maxBearer {
		return verified{}, refused("the bearer token is too long")
	}
	h, ok := readHeader(token.text)
	if !ok {
		return verified{}, refused("the bearer token is no signed JSON Web Token")
	}
	var missing []*issuer
	found := refused("the bearer token has an issuer that is not accepted")
	for _, candidate := range s.issuers[h.issuer] {
		keys := candidate.held()
		if candidate.remote != nil && candidate.accepts(h.algorithm) && !keys.has(h) {
			missing = append(missing, candidate)
			continue
		}
		known, err := candidate.verify(token.text, h, keys, now)
		if known.issuer != nil {
			return known, err
		}
		found = err
	}
	for _, candidate := range missing {
		err := candidate.remote.refresh(ctx, token.digest)
		keys := candidate.held()
		if err == nil || keys.has(h) || errors.Is(err, ErrUnsought) && (token.proved || h.keyID == "") {
			var known verified
			if known, err = candidate.verify(token.text, h, keys, now); known.issuer != nil {
				return known, err
			}
		}
		if rank(err) >= rank(found) {
			found = err
		}
	}
	return verified{}, found
}
