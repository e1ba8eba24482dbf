package browsertest

import (
	"errors"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// Await waits until an element is visible, and returns its text.
func (p *Page) Await(selector string) string {
	p.t.Helper()
	return do(p, "read "+selector, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
}

// AwaitText waits until the visible text of an element contains a text.
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

// AwaitPath waits until the page's path begins with a text, and the page is loaded.
func (p *Page) AwaitPath(prefix string) {
	p.t.Helper()
	p.await("wait for the path "+prefix, loaded+" && location.pathname.startsWith("+quote(prefix)+")")
}

var errTooLate = errors.New("this did not happen in time")

// await waits until an expression is true. The page may navigate meanwhile.
func (p *Page) await(what, condition string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		holds, err := run(p, chromedp.Evaluate[bool](condition, chromedp.EvalAsValue))
		if err == nil && holds {
			return
		}
		if p.context.Err() != nil { // the browser has ended
			break
		}
	}
	p.fail(what, errTooLate)
}

// quote returns a text as a literal of JavaScript.
func quote(text string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`", "$", "\\$").Replace(text) + "`"
}
