package consoletest_test

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// TestScreenshots takes the pictures of the documentation, if BROKER_SCREENSHOTS names a folder for
// them: see `make screenshots`.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("BROKER_SCREENSHOTS")
	if folder == "" {
		t.Skip("BROKER_SCREENSHOTS is not set")
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	s := shop(t)
	page := s.signedIn()
	for _, picture := range []struct {
		view
		width, height int64
		dark          bool
	}{
		{view{"credentials", "/credentials", nil}, 1120, 800, false},
		{view{"credential", "/credentials/shop-newsletter", nil}, 1120, 1180, false},
		{view{"credential-refused", "/credentials/campaigns", nil}, 1120, 640, true},
		{view{"add", addClient, func(page *browsertest.Page) {
			page.Type(`input[name="display_name"]`, "SendPulse surveys")
			page.Type(field("client_id"), "b1f0a6c2d4e8")
			page.Type(field("client_secret"), "wrong")
			page.Click(`button[value="verify"]`)
			page.Await("#result .notice")
			browsertest.Eval[bool](page, "document.activeElement.blur(), true")
		}}, 1120, 1060, false},
	} {
		page.Size(picture.width, picture.height)
		page.Dark(picture.dark)
		s.show(page, picture.view)
		path := filepath.Join(folder, picture.name+".png")
		page.Screenshot(path)
		shrink(t, path, int(picture.height))
	}
}

// shop returns a scene with the credentials of a web shop, some of them weeks old.
func shop(t *testing.T) *scene {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Now().Add(-93 * 24 * time.Hour))
	days := func(n int) { clock.Advance(time.Duration(n)*24*time.Hour + time.Hour) }
	callers := []string{"mailer", "reports", "crm"}
	sections := "authentication: {peer_user: true, tokens: ["
	for _, name := range callers {
		sections += fmt.Sprintf("{name: %s, sha256: %q}, ", name, hashOf(name))
	}
	sections += fmt.Sprintf(`]}
grants:
- {callers: ["uid:%d"], credentials: ["*"], actions: [use, manage, operate]}
- {callers: ["token:*"], credentials: ["*"]}
credentials: [{id: status-page, display_name: Status page, provider: pendo, auth_method: api_key, values: {api_key: {env: PENDO_KEY}}}]
`, os.Geteuid())
	s := start(t, setup{sections: sections, clock: clock})
	sim := s.simulator
	client := sim.SendPulse.Client()
	pair := map[string]string{"client_id": client.ID, "client_secret": client.Secret}
	s.create("shop-newsletter", "Shop newsletter", "Newsletters and receipts of the web shop.", "sendpulse", "oauth2_client_credentials", pair)
	s.edit("shop-newsletter", func(c *authmaterialv1.Credential) { c.Labels = map[string]string{"team": "growth"} })
	s.create("threats", "Threat intelligence", "Reputation of the addresses in alerts.", "pulsedive", "api_key", map[string]string{"api_key": sim.Pulsedive.Key()})
	days(41)
	s.create("contracts", "Contracts", "Contracts with suppliers.", "spotdraft", "client_headers", map[string]string{"client_id": sim.SpotDraft.Client().ID, "client_secret": sim.SpotDraft.Client().Secret})
	s.create("old-surveys", "Surveys until 2025", "", "sendpulse", "api_key", map[string]string{"api_key": "old"})
	s.edit("old-surveys", func(c *authmaterialv1.Credential) { c.Disabled = true })
	s.create("campaigns", "Campaigns", "Campaigns of the marketing team.", "sendpulse", "oauth2_client_credentials", map[string]string{"client_id": client.ID, "client_secret": "an-old-secret"})
	days(36)
	s.version("shop-newsletter", &authmaterialv1.CreateCredentialVersionRequest{
		Verify: true, Activate: true, Values: []*authmaterialv1.FieldValue{{Field: "client_secret", Value: client.Secret}},
	})
	s.create("product-usage", "Product usage, Europe", "Events of the app in the European region.", "pendo", "api_key", map[string]string{"api_key": sim.Pendo.AddKey("app.eu.pendo.io")})
	days(14)
	for _, id := range []string{"contracts", "threats", "status-page"} {
		must(t)(s.decorationOf("crm", id))
	}
	clock.Advance(time.Since(clock.Now()) - 2*time.Hour)
	next := sim.SendPulse.AddClient(client)
	s.version("shop-newsletter", &authmaterialv1.CreateCredentialVersionRequest{
		Values: []*authmaterialv1.FieldValue{{Field: "client_id", Value: next.ID}, {Field: "client_secret", Value: next.Secret}},
	})
	must(t)(s.api().ActivateCredentialVersion(t.Context(), &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: "shop-newsletter", Version: 3, Etag: s.etag("shop-newsletter"), Callers: []string{"token:reports"},
	}))
	clock.Advance(2 * time.Hour)
	for range 3 {
		for _, name := range callers {
			must(t)(s.decorationOf(name, "shop-newsletter"))
		}
		_, _ = s.decorationOf("mailer", "campaigns")
		must(t)(s.decorationOf("reports", "product-usage"))
	}
	return s
}

// shrink cuts a picture to a height, and stores it with at most 256 colours.
func shrink(t *testing.T, path string, height int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	bounds.Max.Y = min(bounds.Max.Y, bounds.Min.Y+height)
	uses := map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			uses[picture.At(x, y)]++
		}
	}
	often := slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int { return cmp.Compare(uses[b], uses[a]) })
	small := image.NewPaletted(bounds, often[:min(len(often), 256)])
	draw.Draw(small, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 120<<10 {
		t.Errorf("%s has %d bytes: make the picture smaller", path, out.Len())
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
