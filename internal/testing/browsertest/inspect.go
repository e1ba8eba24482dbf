package browsertest

import (
	"context"
	"os"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

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

// Has reports whether the page has an element now. It only waits until the page is loaded.
func (p *Page) Has(selector string) bool {
	p.t.Helper()
	p.await("load the page", loaded)
	return Eval[bool](p, "document.querySelector("+quote(selector)+") !== null")
}

// Path returns the path and the query of the page's address.
func (p *Page) Path() string {
	p.t.Helper()
	return Eval[string](p, "location.pathname + location.search")
}

// Visited returns the addresses in the history of a page.
func (p *Page) Visited() []string {
	p.t.Helper()
	var all []string
	p.command("read the history", func(ctx context.Context, t *chromedp.Target) error {
		history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
		for _, entry := range history.Entries {
			all = append(all, entry.URL)
		}
		return err
	})
	return all
}

// Frames returns the addresses of the frames of a page, and of the frames that show another site in all
// pages with its cookies. The address of a document that the browser refuses to show begins with
// chrome-error:.
func (p *Page) Frames() []string {
	p.t.Helper()
	var all []string
	var others []target.ID
	p.command("list the frames", func(ctx context.Context, t *chromedp.Target) error {
		tree, err := cdp.Call(ctx, t, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, child := range tree.FrameTree.ChildFrames {
			all = append(all, child.Frame.URL)
		}
		targets, err := chromedp.Targets(p.context)
		for _, other := range targets {
			if other.Type == "iframe" && other.BrowserContextID == chromedp.FromContext(p.context).BrowserContextID {
				others = append(others, other.TargetID)
			}
		}
		return err
	})
	for _, id := range others { // a frame that shows another site has a process of its own
		ctx, end := chromedp.NewContext(p.context, chromedp.WithTargetID(id), chromedp.WithDetachOnCancel())
		frame := &Page{p.t, ctx}
		all = append(all, do(frame, "read the address of a frame", chromedp.Location()))
		end()
	}
	return all
}

// Screenshot writes the whole page to a PNG file.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	if err := os.WriteFile(path, do(p, "take a screenshot", chromedp.FullScreenshot(100)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}
