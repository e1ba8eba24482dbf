// Package browsertest drives Chromium for tests.
//
// Functions and methods of this package end the test when they fail, so they must be called only
// from the goroutine of the test.
package browsertest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a step of a Page may take.
const patience = 30 * time.Second

// Browser is a Chromium without a window.
type Browser struct {
	context context.Context //nolint:containedctx // the library keeps its state in contexts
	folder  string
	end     func()
}

// Start starts a Chromium with a new profile. It ends at the end of the test. It connects to no host
// that the pages do not name.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(folder), chromedp.NoSandbox, chromedp.Headless}
	for _, flag := range []string{
		"disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
		"disable-dev-shm-usage", "ignore-certificate-errors",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(ctx)
	ended := sync.OnceFunc(func() { end(); stop() })
	t.Cleanup(ended)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &Browser{ctx, folder, ended}
}

// Page is a page in a browser. Its methods wait until the elements that they need are there.
type Page struct {
	t       testing.TB
	context context.Context //nolint:containedctx // as in Browser
}

// Open opens an address in a new page, which shares no cookies with other pages.
func (b *Browser) Open(t testing.TB, address string) *Page {
	t.Helper()
	ctx, end := chromedp.NewContext(b.context, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	p := &Page{t, ctx}
	p.Size(1200, 900)
	p.Go(address)
	return p
}

// Tab opens an address in another tab, which shares the cookies of the page.
func (p *Page) Tab(address string) *Page {
	p.t.Helper()
	ctx, end := chromedp.NewContext(p.context)
	p.t.Cleanup(end)
	tab := &Page{p.t, ctx}
	tab.Size(1200, 900)
	tab.Go(address)
	return tab
}

// do runs a step, and returns its result.
func do[T any](p *Page, what string, step chromedp.Action[T]) T {
	p.t.Helper()
	result, err := run(p, step)
	if err != nil {
		text, _ := run(p, chromedp.Text("body"))
		where, _ := run(p, chromedp.Location())
		p.t.Fatalf("%s: %v; the page %s shows:\n%s", what, err, where, text)
	}
	return result
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

// Go opens an address.
func (p *Page) Go(address string) {
	p.t.Helper()
	do(p, "open "+address, chromedp.Navigate(address))
}

// Click clicks on the first visible element that the selector matches.
func (p *Page) Click(selector string) {
	p.t.Helper()
	do(p, "click "+selector, chromedp.Click(selector))
}

// Type replaces the content of a field.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	do(p, "find "+selector, chromedp.WaitVisible(selector))
	Eval[bool](p, "(field => { field.focus(); field.select(); return true })(document.querySelector("+quote(selector)+"))")
	do(p, "type into "+selector, chromedp.KeyEvent(text))
}

// Press sends keys to the focused element. Package kb of chromedp has the names of special keys.
func (p *Page) Press(keys string) {
	p.t.Helper()
	do(p, "press keys", chromedp.KeyEvent(keys))
}

// Await waits until an element is visible, and returns its text.
func (p *Page) Await(selector string) string {
	p.t.Helper()
	return do(p, "read "+selector, chromedp.Text(selector))
}

// AwaitText waits until the text of an element contains a text.
func (p *Page) AwaitText(selector, want string) {
	p.t.Helper()
	p.await("wait for "+want+" in "+selector, "(document.querySelector("+quote(selector)+")?.innerText ?? '').includes("+quote(want)+")")
}

// AwaitGone waits until the page has no such element.
func (p *Page) AwaitGone(selector string) {
	p.t.Helper()
	p.await("wait until the page lacks "+selector, "document.querySelector("+quote(selector)+") === null")
}

// AwaitFocus waits until an element that the selector matches has the focus.
func (p *Page) AwaitFocus(selector string) {
	p.t.Helper()
	p.await("wait for the focus on "+selector, "document.activeElement?.matches("+quote(selector)+") ?? false")
}

// await waits until an expression is true. The page may navigate meanwhile.
func (p *Page) await(what, condition string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if holds, err := run(p, chromedp.Evaluate[bool](condition, chromedp.EvalAsValue)); err == nil && holds {
			return
		}
	}
	do(p, what, chromedp.Func(func(context.Context, *chromedp.Target) error { return context.DeadlineExceeded }))
}

// Has reports whether the page has an element now.
func (p *Page) Has(selector string) bool {
	p.t.Helper()
	return Eval[bool](p, "document.querySelector("+quote(selector)+") !== null")
}

// Path returns the path and the query of the page's address.
func (p *Page) Path() string {
	p.t.Helper()
	return Eval[string](p, "location.pathname + location.search")
}

// AwaitPath waits until the page's path begins with a text.
func (p *Page) AwaitPath(prefix string) {
	p.t.Helper()
	p.await("wait for the path "+prefix, "document.readyState === 'complete' && location.pathname.startsWith("+quote(prefix)+")")
}

// Eval returns the value of an expression in JavaScript.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	return do(p, "evaluate "+expression, chromedp.Evaluate[T](expression, chromedp.EvalAsValue))
}

// Promised returns the value of the promise that an expression in JavaScript returns.
func Promised[T any](p *Page, expression string) T {
	p.t.Helper()
	return do(p, "evaluate "+expression, chromedp.Evaluate[T](expression, chromedp.EvalAsValue, chromedp.EvalAwaitPromise))
}

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

// WithoutScripts turns JavaScript off for the addresses that the page opens from now on. Methods that
// need it, such as AwaitText, cannot be used then.
func (p *Page) WithoutScripts() {
	p.t.Helper()
	p.command("turn scripts off", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

func (p *Page) command(what string, command func(context.Context, *chromedp.Target) error) {
	p.t.Helper()
	do(p, what, chromedp.Func(command))
}

// Screenshot writes the whole page to a PNG file.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	if err := os.WriteFile(path, do(p, "take a screenshot", chromedp.FullScreenshot(100)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// quote returns a text as a literal of JavaScript.
func quote(text string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`", "$", "\\$").Replace(text) + "`"
}
