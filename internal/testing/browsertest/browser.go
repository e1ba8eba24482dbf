// Package browsertest drives Chromium for tests.
//
// Functions and methods of this package end the test when they fail, so they must be called only
// from the goroutine of the test.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// shared is the Chromium of the function Open. It is nil until the first call.
var shared struct {
	sync.Mutex
	*Browser
}

// Main runs the tests of a package from its TestMain, and returns the exit code. It ends the Chromium
// that the function Open has started.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.Browser != nil {
		if err := shared.end(); err != nil {
			fmt.Fprintln(os.Stderr, "end Chromium:", err)
		}
	}
	return code
}

// Open opens an address in a new page, which shares no cookies with other pages. All these pages are in
// one Chromium, so TestMain must call Main, which ends the Chromium. A page closes at the end of its
// test.
func Open(t testing.TB, address string) *Page {
	t.Helper()
	browser, err := sharedBrowser()
	if err != nil {
		t.Fatal(err)
	}
	return open(browser.context, t, address, chromedp.WithNewBrowserContext())
}

func sharedBrowser() (browser *Browser, err error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.Browser == nil {
		shared.Browser, err = launch()
	}
	return shared.Browser, err
}

// Browser is a Chromium that belongs to one test. It keeps its profile in a folder.
type Browser struct {
	context context.Context //nolint:containedctx // the library keeps its state in contexts
	end     func() error
	t       testing.TB
	folder  string
}

// Start starts a Chromium with a new profile. It ends at the end of the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	folder := t.TempDir()
	browser, err := launch(chromedp.UserDataDir(folder))
	if err != nil {
		t.Fatal(err)
	}
	browser.t, browser.folder = t, folder
	t.Cleanup(func() { _ = browser.end() })
	return browser
}

// Open opens an address in a new page, whose cookies and files the browser keeps in its profile.
func (b *Browser) Open(address string) *Page {
	b.t.Helper()
	return open(b.context, b.t, address)
}

// Folder returns the folder of the browser's profile.
func (b *Browser) Folder() string { return b.folder }

// End ends the browser and its pages, so that the profile is complete.
func (b *Browser) End() {
	b.t.Helper()
	if err := b.end(); err != nil {
		b.t.Fatal(err)
	}
}

// launch starts a Chromium without a window. It connects to no host that the pages do not name.
func launch(options ...chromedp.ExecAllocatorOption) (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	options = append(options, chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless)
	for _, flag := range []string{
		"disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
		"disable-dev-shm-usage", "ignore-certificate-errors",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &Browser{context: ctx, end: sync.OnceValue(func() error {
		defer stop()
		closing, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return chromedp.Cancel(closing) // asks the browser to close: one that is killed loses a part of its profile
	})}, nil
}
