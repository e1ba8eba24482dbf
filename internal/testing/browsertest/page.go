package browsertest

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// patience is how long a step of a Page may take.
const patience = time.Minute

// Page is a page in a browser. A selector of its methods means the first element that it matches. Methods
// that use an element wait until it is visible and the page is loaded.
type Page struct {
	t       testing.TB
	context context.Context //nolint:containedctx // as in Browser
}

func open(parent context.Context, t testing.TB, address string, options ...chromedp.ContextOption) *Page {
	t.Helper()
	ctx, end := chromedp.NewContext(parent, options...)
	t.Cleanup(end)
	p := &Page{t, ctx}
	p.focused()
	p.Size(1200, 900)
	p.Go(address)
	return p
}

// Tab opens an address in another tab, which shares the cookies of the page.
func (p *Page) Tab(address string) *Page {
	p.t.Helper()
	return open(p.context, p.t, address)
}

// do runs a step, and returns its result.
func do[T any](p *Page, what string, step chromedp.Action[T]) T {
	p.t.Helper()
	result, err := run(p, step)
	if err != nil {
		p.fail(what, err)
	}
	return result
}

// fail ends the test.
func (p *Page) fail(what string, err error) {
	p.t.Helper()
	text, _ := run(p, chromedp.Text(chromedp.CSS("body")))
	where, _ := run(p, chromedp.Location())
	p.t.Fatalf("%s: %v; the page %s shows:\n%s", what, err, where, text)
}

func run[T any](p *Page, step chromedp.Action[T]) (T, error) {
	if err := chromedp.Do(p.context); err != nil { // the first call of a context must have no deadline
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(p.context, patience)
	defer cancel()
	return chromedp.Run(ctx, step)
}

// command is a step that calls the browser.
func (p *Page) command(what string, command func(context.Context, *chromedp.Target) error) {
	p.t.Helper()
	do(p, what, chromedp.Func(command))
}

// Go opens an address.
func (p *Page) Go(address string) {
	p.t.Helper()
	do(p, "open "+address, chromedp.Navigate(address))
}

// Back returns to the address before this one in the page's history.
func (p *Page) Back() {
	p.t.Helper()
	Eval[bool](p, "globalThis.beforeBack = true")
	Eval[bool](p, "history.back() ?? true")
	p.await("go back", "globalThis.beforeBack === undefined && "+loaded)
}

// loaded is true when the scripts of a page have run.
const loaded = "document.readyState === 'complete'"

// find waits for an element that can be used.
func (p *Page) find(selector string) {
	p.t.Helper()
	do(p, "find "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
	p.await("load the page", loaded)
}

// Click clicks on an element.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.find(selector)
	do(p, "click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Type replaces the content of a field.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	p.find(selector)
	Eval[bool](p, "(field => { field.focus(); field.select(); return true })(document.querySelector("+quote(selector)+"))")
	p.command("type into "+selector, func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
}

// Paste pastes a text into a field, from the clipboard, which all pages of a browser share: use a
// browser of the test's own.
func (p *Page) Paste(selector, text string) {
	p.t.Helper()
	p.find(selector)
	Eval[bool](p, `(text => {
		const source = document.body.appendChild(document.createElement("textarea"));
		source.value = text;
		source.focus();
		source.select();
		source.addEventListener("cut", () => setTimeout(() => source.remove()));
		return true;
	})(`+quote(text)+")")
	p.edit("cut")
	Eval[bool](p, "(field => { field.focus(); field.select(); return true })(document.querySelector("+quote(selector)+"))")
	p.edit("paste")
}

// edit runs an editing command of the browser.
func (p *Page) edit(name string) {
	p.t.Helper()
	p.command(name, func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Commands: []string{name}})
		return err
	})
}

// Press presses keys, which the focused element gets. Package kb of chromedp has the names of special
// keys.
func (p *Page) Press(keys string) {
	p.t.Helper()
	p.await("load the page", loaded)
	do(p, "press keys", chromedp.KeyEvent(keys))
}
