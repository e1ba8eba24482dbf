package consoletest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// first returns the first lines of a long list.
func first(lines []string) string { return strings.Join(lines[:min(len(lines), 10)], "\n") }

// axe returns the script of axe-core, which finds accessibility problems.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "..", ".bin", "axe.min.js"))
	if err != nil {
		t.Fatal("axe-core is missing: run make axe: ", err)
	}
	return string(script)
}

// problems returns the problems of a page that axe-core finds with some rules.
func problems(page *browsertest.Page, rules string) []string {
	return browsertest.Promised[[]string](page, `axe.run(document, {resultTypes: ["violations"], preload: false, runOnly: [`+rules+`]}).then(
  found => found.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary)))`)
}

// These are the rules for levels A and AA, and the only one of them that depends on colours.
const (
	levelAA  = `"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"`
	contrast = `"color-contrast"`
)

// layout defines a function that returns what axe-core does not check: elements that make the page
// scroll sideways, and targets smaller than 24 px that are not part of a sentence.
const layout = `window.layout = () => {
  const texts = [], width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) texts.push("the page scrolls sideways: " + document.documentElement.scrollWidth + " > " + width);
  for (const e of document.querySelectorAll("a, button, summary, select, textarea, input:not([type=hidden])")) {
    const box = e.getBoundingClientRect();
    if (!e.checkVisibility() || getComputedStyle(e).display === "inline" || e.matches(".skip")) continue;
    if (box.width < 24 || box.height < 24) texts.push("a target is small: " + e.outerHTML.slice(0, 100) + " " + box.width + " x " + box.height);
    if (box.left < 0 || box.right > width && !e.closest(".wide, pre")) texts.push("a target is outside of the page: " + e.outerHTML.slice(0, 100));
  }
  return texts;
}, true`

// TestAccessible checks every page, wide and narrow, light and dark: it has no level A or AA problem that
// axe-core finds, does not scroll sideways, and has no small target.
func TestAccessible(t *testing.T) {
	t.Parallel()
	script := axe(t)
	check := func(t *testing.T, page *browsertest.Page, name string) {
		t.Helper()
		browsertest.Eval[bool](page, script+"; true")
		browsertest.Eval[bool](page, layout)
		for _, width := range []int64{1200, 600, 320} { // 600 is 1200 at a zoom of 200 %
			page.Size(width, 900)
			if found := browsertest.Eval[[]string](page, "layout()"); len(found) > 0 {
				t.Errorf("%s, %d px wide:\n%s", name, width, first(found))
			}
			if width == 600 {
				continue
			}
			for colours, rules := range map[string]string{"light": levelAA, "dark": contrast} {
				page.Dark(colours == "dark")
				if found := problems(page, rules); len(found) > 0 {
					t.Errorf("%s, %d px wide, %s:\n%s", name, width, colours, first(found))
				}
			}
		}
		page.Size(1200, 900)
	}
	empty, s := serve(t, ""), gallery(t)
	page := browsertest.Open(t, s.address+"/sign-in")
	for _, v := range openViews {
		s.show(page, v)
		check(t, page, v.name)
	}
	t.Run("views", func(t *testing.T) {
		for part := range slices.Chunk(views, (len(views)+2)/3) { // three pages at once take less time
			t.Run("from "+part[0].name, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				page := s.signedIn()
				for _, v := range part {
					s.show(page, v)
					check(t, page, v.name)
				}
			})
		}
	})
	page = s.signedIn()
	s.reloadWithProblem()
	page.Go(s.address + "/fleet")
	page.AwaitText("main", "The last reload failed")
	check(t, page, "fleet-problem")
	check(t, empty.signedIn(), "credentials-empty")
	page = browsertest.Open(t, s.address+"/sign-in")
	page.Type("#token", tokenOf("viewer"))
	page.Click("main button")
	page.AwaitPath("/credentials")
	page.Go(s.address + rich)
	check(t, page, "credential-of-a-viewer")
}

// focus is the value of the expression focused.
type focus struct {
	Element string
	Shown   bool
}

// focused describes the focused element, and reports whether an outline of 2 px or more shows it.
const focused = `(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return {};
  const shown = style => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const box = e.getBoundingClientRect();
  return {Element: e.outerHTML.slice(0, 120), Shown: (shown(getComputedStyle(e)) || shown(getComputedStyle(e, "::after"))) && box.bottom > 0 && box.top < innerHeight};
})()`

// controls are the elements of a page that the key Tab reaches.
const controls = `[...document.querySelectorAll("a, button, summary, select, textarea, pre, .wide, input:not([type=hidden])")].filter(e => e.checkVisibility())`

// TestFocus checks that the key Tab reaches every control of a page, and that each of them shows that it
// has the focus.
func TestFocus(t *testing.T) {
	t.Parallel()
	s := gallery(t)
	page := s.signedIn()
	for _, v := range []view{{"credentials", "/credentials", nil}, {"credential", rich, open}, {"add", addClient, open}} {
		s.show(page, v)
		all := browsertest.Eval[[]string](page, controls+".map(e => e.outerHTML.slice(0, 120))")
		reached := map[int]bool{}
		for range len(all) + 3 { // a date field has three more stops: for the month, the year and the calendar
			page.Press(kb.Tab)
			on := browsertest.Eval[focus](page, focused)
			if !on.Shown {
				t.Errorf("%s: the focus is not visible on %s", v.name, on.Element)
			}
			if at := browsertest.Eval[int](page, controls+".indexOf(document.activeElement)"); at >= 0 {
				reached[at] = true
			}
			if len(reached) == len(all) {
				break
			}
		}
		for at, control := range all {
			if !reached[at] {
				t.Errorf("%s: the key Tab does not reach %s", v.name, control)
			}
		}
	}
}

// TestMotion checks that nothing moves for people who ask for reduced motion.
func TestMotion(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	page := s.signedIn()
	const moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s' || getComputedStyle(e).animationName !== 'none').length"
	if browsertest.Eval[int](page, moving) == 0 {
		t.Error("the page has no transitions, so this test checks nothing")
	}
	page.Dark(false)
	if n := browsertest.Eval[int](page, moving); n > 0 {
		t.Errorf("%d elements move", n)
	}
}
