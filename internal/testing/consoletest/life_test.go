package consoletest_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// account is an account at a simulated provider.
type account struct {
	name, provider, method string
	shown                  string            // the provider's name on the pages
	values, next           map[string]string // by field; the provider accepts both
	wrong                  string            // a secret field; the account does not accept another value
	verified               string            // the word for a verification of the values
	api                    *simulator.API
	url                    string // of a request that the provider answers with 200
}

func accounts(sim *simulator.Simulator) []account {
	pair := func(c simulator.Client) map[string]string {
		return map[string]string{"client_id": c.ID, "client_secret": c.Secret}
	}
	key := func(value string) map[string]string { return map[string]string{"api_key": value} }
	const sendPulse, pulsedive = "https://api.sendpulse.com/user/info", "https://pulsedive.com/api/indicator.php?indicator=pulsedive.com"
	const pendo, spotDraft = "https://app.pendo.io/api/v1/token/verify", "https://api.in.spotdraft.com/api/v2.1/public/contract_types/"
	return []account{
		{"SendPulse by client", "sendpulse", "oauth2_client_credentials", "SendPulse", pair(sim.SendPulse.Client()), pair(sim.SendPulse.AddClient(simulator.Client{})), "client_secret", "Accepted", sim.SendPulse.API, sendPulse},
		{"SendPulse by key", "sendpulse", "api_key", "SendPulse", key(sim.SendPulse.APIKey()), key(sim.SendPulse.AddAPIKey()), "api_key", "Accepted", sim.SendPulse.API, sendPulse},
		{"Pulsedive", "pulsedive", "api_key", "Pulsedive", key(sim.Pulsedive.Key()), key(sim.Pulsedive.AddKey()), "api_key", "Inconclusive", sim.Pulsedive.API, pulsedive},
		{"Pendo", "pendo", "api_key", "Pendo", key(sim.Pendo.Key()), key(sim.Pendo.AddKey("app.pendo.io")), "api_key", "Accepted", sim.Pendo.API, pendo},
		{"SpotDraft", "spotdraft", "client_headers", "SpotDraft", pair(sim.SpotDraft.Client()), pair(sim.SpotDraft.AddClient()), "client_secret", "Accepted", sim.SpotDraft.API, spotDraft},
	}
}

func field(id string) string { return `input[name="values.` + id + `"]` }

// fill types values into the form for a credential.
func fill(page *browsertest.Page, values map[string]string) {
	for id, value := range values {
		page.Type(field(id), value)
	}
}

// life is what a person does with one credential.
type life struct {
	*scene
	account

	page    *browsertest.Page
	id      string
	watched func() *authmaterialv1.AuthDecoration
	first   *authmaterialv1.AuthDecoration // the material of version 1
}

// TestLife checks what a person does with a credential, for every auth method: add it, with a
// verification of right and wrong values, rotate it with a wrong and a right secret, roll back, delete
// and restore.
func TestLife(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for _, a := range accounts(s.simulator) {
		t.Run(a.name, func(t *testing.T) {
			inner := s.in(t)
			l := &life{scene: inner, account: a, page: inner.signedIn()}
			l.add()
			l.useTile()
			l.rotateWithWrongSecret()
			l.rotate()
			l.rollBack()
			l.deleteAndRestore()
		})
	}
}

func (l *life) add() {
	page := l.page
	page.Click(`a.button[href="/add"]`)
	page.AwaitPath("/add")
	page.Type(`input[type="search"]`, l.provider)
	page.AwaitGone(`a[href^="/add/"]:not([href^="/add/` + l.provider + `/"])`)
	page.Click(`a[href="/add/` + l.provider + `/` + l.method + `"]`)
	page.Type(`input[name="display_name"]`, l.name)
	page.Type(`textarea[name="description"]`, "Mail of the shop")
	fill(page, l.values)
	page.Type(field(l.wrong), "wrong-secret")
	page.Click(`button[value="verify"]`)
	page.AwaitText("#result", "Refused")
	fill(page, l.values)
	page.Click(`button[value="verify"]`)
	page.AwaitText("#result", l.verified)
	page.Click(`button[value="save"]`)
	page.AwaitPath("/credentials/")
	page.AwaitText("main", "The credential is saved.")
	l.id = browsertest.Eval[string](page, "location.pathname.split('/').pop()")
}

// useTile checks the tile of the new credential, and that services can use the credential.
func (l *life) useTile() {
	l.page.Click(`nav a[href="/credentials"]`)
	for _, want := range []string{l.name, l.shown, "Mail of the shop", "Not yet used"} {
		l.page.AwaitText(l.tile(), want)
	}
	open := l.page.Tab(l.address + "/credentials/" + l.id)
	open.AwaitText("#state", "Nobody has used the current values")
	got := l.grpcurl(l.id)
	open.AwaitText("#state", "Callers get") // without a click
	// The state may have changed, and the page with it, before the call was counted.
	browsertest.Eval[bool](open, `htmx.trigger(document.querySelector("[data-refresh]"), "state"), true`)
	open.AwaitText("#callers", "uid:")
	if !l.accepts(l.account, got) {
		l.Error("the provider refuses what grpcurl got")
	}
	l.page.AwaitText(l.tile(), "Ready") // the stream of states
	l.watched = l.watch(l.id)
	if l.first = l.watched(); !proto.Equal(material(l.first), material(got)) {
		l.Error("the watcher and grpcurl got different material")
	}
	l.page.Click(`a[href="/credentials/` + l.id + `"]`)
	l.page.AwaitPath("/credentials/" + l.id)
}

func (l *life) tile() string { return `.tile:has(a[href="/credentials/` + l.id + `"])` }

// material returns a decoration without its times and version.
func material(d *authmaterialv1.AuthDecoration) *authmaterialv1.AuthDecoration {
	return &authmaterialv1.AuthDecoration{Headers: d.GetHeaders(), QueryParams: d.GetQueryParams()}
}

func (l *life) rotateWithWrongSecret() {
	l.page.Click(`a[href="/credentials/` + l.id + `/rotate"]`)
	l.page.Type(field(l.wrong), "wrong-secret")
	l.page.Click(`button[value="rotate"]`)
	l.page.AwaitText("#result", "Refused")
	if got := l.mustDecoration(l.id); got.GetVersion() != l.first.GetVersion() || !l.accepts(l.account, got) {
		l.Errorf("after the refused rotation, callers get the version %s, want %s", got.GetVersion(), l.first.GetVersion())
	}
}

// rotate corrects the form with the wrong secret. The watcher's next message is the new version, so
// the wrong secret caused none.
func (l *life) rotate() {
	fill(l.page, l.next)
	if l.verified == "Inconclusive" {
		l.page.Click(`button[value="rotate"]`)
		l.page.AwaitText("#result", "Inconclusive")
		if got := l.mustDecoration(l.id); got.GetVersion() != l.first.GetVersion() {
			l.Error("an inconclusive verification changed what callers get")
		}
		l.page.Click(`#accept`)
	}
	l.page.Click(`button[value="rotate"]`)
	l.page.AwaitText("main", "Callers get the new version now.")
	if got := l.watched(); proto.Equal(material(got), material(l.first)) || !l.accepts(l.account, got) {
		l.Error("the watcher did not get the new secret")
	}
}

// rollBack returns to version 1: the versions in between were never active.
func (l *life) rollBack() {
	l.page.Click(`.actions form[action$="/activate"] button`)
	l.page.AwaitText("main", "Callers get this version now.")
	l.page.AwaitText(".timeline li:last-child", "Active")
	if got := l.watched(); !proto.Equal(material(got), material(l.first)) || !l.accepts(l.account, got) {
		l.Error("the watcher did not get the old secret again")
	}
}

func (l *life) deleteAndRestore() {
	l.page.Click(`form[action$="/delete"] button`) // without the tick, the browser sends no form
	if _, err := l.decoration(l.id); err != nil {
		l.Errorf("a delete without confirmation: %v", err)
	}
	l.page.Click(`form[action$="/delete"] input[type="checkbox"]`)
	l.page.Click(`form[action$="/delete"] button`)
	l.page.AwaitText("main", "The credential is deleted.")
	if _, err := l.decoration(l.id); status.Code(err) != codes.NotFound {
		l.Errorf("a deleted credential: %v, want NotFound", err)
	}
	l.page.Click(`nav a[href="/credentials"]`)
	l.page.AwaitText("h1", "Credentials")
	l.page.AwaitPath("/credentials")
	if l.page.Has(l.tile()) {
		l.Error("the list has the deleted credential")
	}
	deleted := "#deleted"
	if !l.page.Has(deleted) { // a list without credentials has no search
		deleted = `a[href="/credentials?deleted=1"]`
	}
	l.page.Click(deleted)
	l.page.AwaitText(l.tile(), "Deleted")
	l.page.Click(`a[href="/credentials/` + l.id + `"]`)
	l.page.Click(`form[action$="/restore"] button`)
	l.page.AwaitText("main", "The credential is restored.")
	if got := l.mustDecoration(l.id); !l.accepts(l.account, got) {
		l.Error("the restored credential does not work")
	}
}
