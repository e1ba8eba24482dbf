package browsertest

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// OpenKept opens an address in a new page of the browser's own profile, which the browser writes to
// Folder. Pages from Open are kept in memory only.
func (b *Browser) OpenKept(t testing.TB, address string) *Page {
	t.Helper()
	ctx, end := chromedp.NewContext(b.context)
	t.Cleanup(end)
	p := &Page{t, ctx}
	p.Size(1200, 900)
	p.Go(address)
	return p
}

// Folder returns the folder of the browser's profile.
func (b *Browser) Folder() string { return b.folder }

// End ends the browser, so that its profile is complete.
func (b *Browser) End() { b.end() }

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

// Frames returns the addresses of the documents that a page shows in frames. The address of a document
// that the browser refuses to show begins with chrome-error:.
func (p *Page) Frames() []string {
	p.t.Helper()
	var all []string
	p.command("list the frames", func(ctx context.Context, t *chromedp.Target) error {
		tree, err := cdp.Call(ctx, t, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, child := range tree.FrameTree.ChildFrames {
			all = append(all, child.Frame.URL)
		}
		return nil
	})
	return all
}
