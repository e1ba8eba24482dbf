package browsertest

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Size sets the size of the page in CSS pixels.
func (p *Page) Size(width, height int64) {
	p.t.Helper()
	do(p, "resize", chromedp.EmulateViewport(width, height))
}

// Dark makes the page dark or light, and asks it for reduced motion, so that a screenshot shows no
// transition.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	p.command("choose colours", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	})
}

// WithoutScripts turns off the scripts of the addresses that the page opens from now on.
func (p *Page) WithoutScripts() {
	p.t.Helper()
	p.command("turn scripts off", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// focused makes the page behave as if its window had the focus, which only one window of a browser can
// have.
func (p *Page) focused() {
	p.t.Helper()
	p.command("focus the page", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})
}
