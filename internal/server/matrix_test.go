package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/codes"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// The test matrix requests these credentials. Callers with the grant may use the credential
// key-of-board, and the credentials that match the pattern token-of-*.
const (
	there   = "key-of-board"
	missing = "token-of-none"
	off     = "key-of-nobody" // disabled
)

// matrixOf returns a configuration with two grants: one for the given callers, and one that lets
// all callers use the credentials of the provider pulsedive.
func (w world) matrixOf(callers ...string) string {
	return "  - {id: " + off + ", disabled: true, provider: pendo, auth_method: api_key, values: {api_key: {value: k}}}\n" +
		"grants:\n" +
		"  - {callers: [" + strings.Join(callers, ", ") + "], credentials: [" + there + ", token-of-*]}\n" +
		"  - {callers: [\"*\"], providers: [pulsedive]}\n"
}

// grantOf returns a grant of the given action on the credentials of the first grant of matrixOf.
func grantOf(action access.Action, callers ...string) string {
	return "  - {callers: [" + strings.Join(callers, ", ") + "], credentials: [" + there + ", token-of-*], actions: [" + string(action) + "]}\n"
}

// granted returns one caller for each authentication method, who has the grant of the test matrix.
func granted() []string {
	return []string{"spiffe://example.test/granted", "jwt:idp:granted", "token:granted", "uid:" + strconv.Itoa(os.Geteuid())}
}

// grantedOverSocket returns those callers with the grant that need neither issuers nor static
// tokens.
func grantedOverSocket() []string {
	return slices.DeleteFunc(granted(), func(caller string) bool {
		return strings.HasPrefix(caller, "jwt:") || strings.HasPrefix(caller, "token:")
	})
}

// provers has the keys and certificates of the callers in the test matrix, and the servers that
// they call.
type provers struct {
	world
	overTLS, later, overSocket, ofOthers, withoutUsers harness
	tokens                                             [2]string // static tokens of callers with and without the grant
	grantees                                           []grantee
}

// A grantee is a caller with a grant of one action. The grantee sends its static token, or calls a
// server at a Unix socket that grants the action to the user of the test process.
type grantee struct {
	action     access.Action
	token      string
	overSocket harness
}

func newProvers(t *testing.T) provers {
	w := newWorld(t)
	p := provers{world: w}
	other := authentication.GenerateToken()
	p.tokens = [2]string{w.mailer.Reveal(), other.Reveal()}
	proofs := strings.Replace(w.authentication(), "tokens: [", "tokens: ["+staticToken("other", other)+", ", 1)
	proofs = strings.Replace(proofs, "name: mailer", "name: granted", 1)
	proofs = strings.Replace(proofs, "name: idp,", "name: idp, groups_claim: roles,", 1)
	remote := w.matrixOf(append(granted(), "group:idp:granted")...)
	for _, action := range []access.Action{access.View, access.Manage, access.Operate} {
		token := authentication.GenerateToken()
		proofs = strings.Replace(proofs, "tokens: [", "tokens: ["+staticToken(string(action), token)+", ", 1)
		remote += grantOf(action, "spiffe://example.test/"+string(action), "jwt:idp:"+string(action), "token:"+string(action))
		local := w.matrixOf("\"uid:4294967294\"") + grantOf(action, "uid:"+strconv.Itoa(os.Geteuid())) + "authentication: {}\n"
		p.grantees = append(p.grantees, grantee{action, token.Reveal(), w.serve(local, p.socket())})
	}
	remote += w.listenTLS() + proofs
	clock := clockwork.NewFakeClockAt(time.Now())
	p.overTLS = w.serve(remote, listenTCP(t), func(o *server.Options) { o.Clock = clock })
	clock.Advance(10 * time.Second) // an unknown key now makes the server fetch keys
	p.later = w.serve(remote, listenTCP(t), func(o *server.Options) { o.Clock = clockwork.NewFakeClockAt(time.Now().Add(2 * time.Hour)) })
	p.overSocket = w.serve(w.matrixOf(grantedOverSocket()...)+"authentication: {}\n", p.socket())
	p.ofOthers = w.serve(w.matrixOf("\"uid:4294967294\"")+"authentication: {}\n", p.socket())
	p.withoutUsers = w.serve(w.matrixOf(grantedOverSocket()...)+"authentication: {peer_user: false}\n", p.socket())
	return p
}

func (p provers) shows(h harness, certificate tls.Certificate) asker {
	return asker{p.dial(h, certificate), ""}
}

func (p provers) brings(token string) asker { return asker{p.dial(p.overTLS), "Bearer " + token} }

// claims returns a client that sends a JWT of the caller that has the grant. The claims in `others`
// replace the usual ones.
func (p provers) claims(k authtest.Key, others authtest.Claims) asker {
	return p.brings(p.mint(k, authtest.Claims{"sub": "granted"}.With(others)))
}

// `of` returns a client of a server at a Unix socket. The server identifies the client by the user
// of the test process.
func (p provers) of(h harness) asker { return asker{p.dialWith(h, plain()), ""} }

// A cell has the caller in one row of the test matrix, the credential that it requests, and the
// expected outcome of the methods that the caller's grant allows.
type cell struct {
	who   asker
	id    string
	want  outcome
	grant access.Action // the action that is granted to the caller
}

// `none` is the action of a caller without a grant.
const none access.Action = ""

// wantOf returns the expected outcome of a method.
func (c cell) wantOf(m method) outcome {
	granted := c.grant == m.action || c.grant == access.Manage && m.action == access.View
	if c.grant != none && !granted {
		return denied.of(m)
	}
	return c.want.of(m)
}

// rows returns the rows of the test matrix. For each kind of proof, some rows have a wrong one.
// Client certificates have no audience and no key ID: instead of a wrong audience, a row has a
// certificate that is only for servers, and instead of a wrong key ID, one that was signed by
// another authority of the same name. Static tokens do not expire, so the only wrong static token
// is an unknown one. The operating system reports the user of a Unix socket, so that this user
// cannot be wrong.
func (p provers) rows() map[string]cell {
	workload, others := p.authority.IssueSPIFFE("spiffe://example.test/granted"), p.authority.IssueSPIFFE("spiffe://example.test/other")
	issue := func(by *authtest.Authority, change func(*x509.Certificate)) tls.Certificate {
		template := x509.Certificate{URIs: authtest.URIs("spiffe://example.test/granted")}
		change(&template)
		return by.Issue(template)
	}
	asIs := func(*x509.Certificate) {}
	hs256 := p.key.BySecret(string(authtest.KeySet(p.key)))
	refused := func(message string) outcome {
		return outcome{code: codes.Unauthenticated, reason: "CALLER_UNAUTHENTICATED", message: message, whole: true}
	}
	rows := map[string]cell{
		"mutual TLS: granted":        {p.shows(p.overTLS, workload), there, allowed, access.Use},
		"mutual TLS: unknown ID":     {p.shows(p.overTLS, workload), missing, notFound, access.Use},
		"mutual TLS: not granted":    {p.shows(p.overTLS, others), there, denied, none},
		"mutual TLS: neither":        {p.shows(p.overTLS, others), missing, denied, none},
		"mutual TLS: expired since":  {p.shows(p.later, workload), there, refused(noAuthority), none},
		"mutual TLS: expired before": {p.shows(p.overTLS, issue(p.authority, longAgo)), there, refused(noAuthority), none},
		"mutual TLS: for servers":    {p.shows(p.overTLS, issue(p.authority, forServers)), there, refused(noAuthority), none},
		"mutual TLS: other issuer":   {p.shows(p.overTLS, issue(authtest.NewAuthority("others", time.Now()), asIs)), there, refused(noAuthority), none},
		"mutual TLS: other key":      {p.shows(p.overTLS, issue(authtest.NewAuthority("clients", time.Now()), asIs)), there, refused(noAuthority), none},
		"mutual TLS: no certificate": {asker{p.dial(p.overTLS), ""}, there, refused(nobody), none},

		"JWT: granted":              {p.claims(p.key, nil), there, allowed, access.Use},
		"JWT: unknown ID":           {p.claims(p.key, nil), missing, notFound, access.Use},
		"JWT: its group is granted": {p.claims(p.key, authtest.Claims{"sub": "other", "roles": []string{"granted"}}), there, allowed, access.Use},
		"JWT: its group is not":     {p.claims(p.key, authtest.Claims{"sub": "other", "roles": []string{"*", "others"}}), there, denied, none},
		"JWT: not granted":          {p.claims(p.key, authtest.Claims{"sub": "other"}), there, denied, none},
		"JWT: neither":              {p.claims(p.key, authtest.Claims{"sub": "other"}), missing, denied, none},
		"JWT: expired":              {p.claims(p.key, authtest.Claims{"exp": time.Now().Unix() - 31}), there, refused("the bearer token has expired"), none},
		"JWT: other audience":       {p.claims(p.key, authtest.Claims{"aud": "others"}), there, refused("the bearer token is for another audience"), none},
		"JWT: other issuer":         {p.claims(p.key, authtest.Claims{"iss": "https://evil.test"}), there, refused("the bearer token has an issuer that is not accepted"), none},
		"JWT: unknown key ID":       {p.claims(authtest.NewEC("unknown"), nil), there, refused(noKey), none},
		"JWT: other key":            {p.claims(authtest.NewEC(p.key.ID), nil), there, refused("the signature of the bearer token is wrong"), none},
		"JWT: algorithm none":       {p.claims(authtest.Unsigned(p.key.ID), nil), there, refused(badAlgorithm), none},
		"JWT: algorithm HS256":      {p.claims(hs256, nil), there, refused(badAlgorithm), none},

		"static token: granted":       {p.brings(p.tokens[0]), there, allowed, access.Use},
		"static token: unknown ID":    {p.brings(p.tokens[0]), missing, notFound, access.Use},
		"static token: not granted":   {p.brings(p.tokens[1]), there, denied, none},
		"static token: neither":       {p.brings(p.tokens[1]), missing, denied, none},
		"static token: unknown token": {p.brings(authentication.GenerateToken().Reveal()), there, refused(unknown), none},

		"Unix socket: granted":             {p.of(p.overSocket), there, allowed, access.Use},
		"Unix socket: unknown ID":          {p.of(p.overSocket), missing, notFound, access.Use},
		"Unix socket: not granted":         {p.of(p.ofOthers), there, denied, none},
		"Unix socket: neither":             {p.of(p.ofOthers), missing, denied, none},
		"Unix socket: users are not asked": {p.of(p.withoutUsers), there, refused(nobody), none},
	}
	for _, m := range p.grantees {
		name := string(m.action)
		for way, who := range map[string]asker{
			"mutual TLS":   p.shows(p.overTLS, p.authority.IssueSPIFFE("spiffe://example.test/"+name)),
			"JWT":          p.claims(p.key, authtest.Claims{"sub": name}),
			"static token": p.brings(m.token),
			"Unix socket":  p.of(m.overSocket),
		} {
			rows[way+": may only "+name] = cell{who, there, allowed, m.action}
			rows[way+": may only "+name+", unknown ID"] = cell{who, missing, notFound, m.action}
		}
	}
	return rows
}

func longAgo(template *x509.Certificate) {
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

func forServers(template *x509.Certificate) {
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

// TestMatrix makes every kind of call with every authentication method, with valid and invalid
// tokens and certificates.
func TestMatrix(t *testing.T) {
	p := newProvers(t)
	for row, cell := range p.rows() {
		for name, m := range methods {
			t.Run(row+"/"+name, func(t *testing.T) {
				got := m.ask(t, cell.who, cell.id)
				if want := cell.wantOf(m); !got.is(want) {
					t.Errorf("the answer is %s, want %s", got, want)
				}
			})
		}
	}
}

// Callers without a grant and unauthenticated callers must get the same bytes for existing,
// disabled and missing credentials.
func TestRefusalsRevealNothing(t *testing.T) {
	p := newProvers(t)
	rows := p.rows()
	for name, m := range methods {
		t.Run(name, func(t *testing.T) {
			for _, group := range [][]string{
				{"mutual TLS: not granted", "JWT: not granted", "static token: not granted", "Unix socket: not granted"},
				{"mutual TLS: no certificate", "Unix socket: users are not asked"},
				{"JWT: expired"}, {"JWT: other audience"}, {"JWT: unknown key ID"}, {"static token: unknown token"},
				{"mutual TLS: expired since"},
			} {
				first := m.ask(t, rows[group[0]].who, there)
				for _, row := range group {
					for _, id := range []string{there, off, missing, "token-of-mail"} {
						if got := m.ask(t, rows[row].who, id); got.code == codes.OK || got.bytes != first.bytes {
							t.Errorf("the answer to %s for %s is %s, and differs from the answer to %s for %s", row, id, got, group[0], there)
						}
					}
				}
			}
		})
	}
}

// For every authentication method, a watch continues while the grant of its caller is removed and
// added again, and sends both changes.
func TestRevokedGrant(t *testing.T) {
	for name, row := range map[string]string{
		"mutual TLS": "mutual TLS: granted", "JWT": "JWT: granted",
		"static token": "static token: granted", "Unix socket": "Unix socket: granted",
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvers(t)
			h, proofs := p.overTLS, p.listenTLS()+strings.Replace(p.authentication(), "name: mailer", "name: granted", 1)
			all := granted()
			if name == "Unix socket" {
				h, proofs, all = p.overSocket, "authentication: {}\n", grantedOverSocket()
			}
			take := func(callers ...string) {
				t.Helper()
				if err := p.reload(h, p.matrixOf(callers...)+proofs); err != nil {
					t.Fatal(err)
				}
			}
			take(all...) // this reload may remove keys and tokens; the next reloads change only grants
			who := p.rows()[row].who
			stream := who.watch(t, there, missing)
			p.wantStates(stream, map[string]outcome{there: allowed, missing: notFound})
			take("\"spiffe://example.test/nobody\"")
			states := p.wantStates(stream, map[string]outcome{there: denied, missing: denied})
			if states[there].bytes != states[missing].bytes {
				t.Error("the watch reveals which credentials exist")
			}
			for name, m := range methods {
				if got, want := m.ask(t, who, there), denied.of(m); !got.is(want) {
					t.Errorf("the answer to %s is %s, want %s", name, got, want)
				}
			}
			take(all...)
			p.wantStates(stream, map[string]outcome{there: allowed, missing: notFound})
		})
	}
}

// wantStates checks the next states of a watch, one for each of the given credentials.
func (p provers) wantStates(stream authmaterialv1.BrokerService_WatchAuthDecorationsClient, want map[string]outcome) map[string]outcome {
	p.Helper()
	got := map[string]outcome{}
	for range want {
		state, err := stream.Recv()
		if err != nil {
			p.Fatal(err)
		}
		got[state.GetCredentialId()] = outcomeOfItem(state.GetError())
	}
	for id, outcome := range want {
		if !got[id].is(outcome.of(methods["watch"])) {
			p.Errorf("the state of %s is %s, want %s", id, got[id], outcome.of(methods["watch"]))
		}
	}
	return got
}

// TestClientCertificateExpires lets a client certificate expire during a watch.
func TestClientCertificateExpires(t *testing.T) {
	w := newWorld(t)
	clock := clockwork.NewFakeClockAt(time.Now())
	h := w.serve(w.all(), listenTCP(t), func(o *server.Options) { o.Clock = clock })
	connection := w.dial(h, w.fromCertificate(x509.Certificate{
		URIs: authtest.URIs("spiffe://example.test/mailer"), NotBefore: clock.Now().Add(-time.Hour), NotAfter: clock.Now().Add(4 * time.Second),
	}))
	watch, err := watchOver(t.Context(), connection)
	if err == nil {
		err = ending(t, watch) // watches wait by Go's own clock
	}
	clock.Advance(4 * time.Second)
	h.wantUnauthenticated(err, "the caller's identity has expired: authenticate and watch again")
	h.wantUnauthenticated(getOver(t.Context(), connection), "the client certificate has expired")
}
