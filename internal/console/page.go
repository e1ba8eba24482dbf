package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"connectrpc.com/connect"
)

// page is what the layout of every page shows.
type page struct {
	Title      string
	Section    string // the item of the navigation that is marked as current
	User       string // the caller's name; empty before sign-in
	UserName   string // the name by which the person is known at the issuer, or else User
	MayAdd     bool   // whether the person may add credentials
	MayOperate bool   // whether the person may see the fleet status
	Assets     string // the path of the assets
	Notice     string // the result of the last form; may be empty
	Body       any
}

//go:embed templates
var templates embed.FS

// pages are the parsed templates and the assets.
type pages struct {
	byName map[string]*template.Template
	path   string // of the assets, with a hash of their content
	assets http.Handler
}

func newPages(assets fs.FS) pages {
	p := pages{byName: map[string]*template.Template{}, path: "/assets/" + hashOf(assets) + "/"}
	layout := template.Must(template.New("layout.html").Funcs(words).ParseFS(templates, "templates/layout.html", "templates/parts.html"))
	names, err := fs.Glob(templates, "templates/pages/*.html")
	if err != nil {
		panic(err) // the pattern is valid
	}
	for _, name := range names {
		own := template.Must(template.Must(layout.Clone()).ParseFS(templates, name))
		p.byName[strings.TrimSuffix(path.Base(name), ".html")] = own
	}
	files := http.StripPrefix(p.path, http.FileServerFS(assets))
	p.assets = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, p.path) { // of another version of the broker
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		files.ServeHTTP(w, r)
	})
	return p
}

// hashOf returns a text that changes whenever a file changes.
func hashOf(files fs.FS) string {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		sum.Write(data)
		return err
	})
	if err != nil {
		panic(err) // the files are embedded
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// show writes a page. If the browser asks for a part of the page, show writes only that part.
func (p pages) show(w http.ResponseWriter, r *http.Request, status int, name string, content page) {
	content.Assets, content.User = p.path, ""
	if someone := personOf(r); someone.session != nil {
		content.UserName = someone.shownName()
		content.User, content.MayAdd, content.MayOperate = someone.caller, someone.mayAdd, someone.mayOperate
	}
	content.Notice = notices[r.FormValue("done")]
	p.write(w, status, name, "layout.html", content)
}

// showPart writes one part of a page.
func (p pages) showPart(w http.ResponseWriter, name, part string, content any) {
	p.write(w, http.StatusOK, name, part, content)
}

func (p pages) write(w http.ResponseWriter, status int, name, part string, content any) {
	var out bytes.Buffer
	if err := p.byName[name].ExecuteTemplate(&out, part, content); err != nil {
		panic(err) // the templates fit their views; a test shows every page
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // fails only if the browser has disconnected
}

// isPartial reports whether the browser asks for a part of a page.
func isPartial(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }

// pageFunc answers the request of a signed-in person.
type pageFunc func(w http.ResponseWriter, r *http.Request) error

// page returns a handler that shows the error of a page.
func (c *Console) page(answer pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.readForm(w, r) {
			return
		}
		if err := answer(w, r); err != nil {
			c.showProblem(w, r, toProblem(err))
		}
	})
}

// showProblem shows a problem instead of a page, or in a part of the page that the browser has.
func (c *Console) showProblem(w http.ResponseWriter, r *http.Request, shown problem) {
	if isPartial(r) {
		c.pages.showPart(w, "problem", "problem", shown)
		return
	}
	c.pages.show(w, r, shown.Status, "problem", page{Title: shown.Title, Body: shown})
}

// readForm reports whether the form of a request could be read. If not, it shows why.
func (c *Console) readForm(w http.ResponseWriter, r *http.Request) bool {
	err := r.ParseForm()
	if err == nil {
		return true
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		c.refuse(w, r, http.StatusRequestEntityTooLarge, "The form is larger than 1 MiB, so nothing was saved.")
	} else {
		c.refuse(w, r, http.StatusBadRequest, "The form could not be read, so nothing was saved. Load the page again, and repeat your change.")
	}
	return false
}

func (c *Console) missing(_ http.ResponseWriter, _ *http.Request) error { return errMissing }

var errMissing = connect.NewError(connect.CodeNotFound, errors.New("there is no such page"))

// done redirects to another page after a form has been processed. That page shows the notice with this
// name.
func done(w http.ResponseWriter, r *http.Request, location, name string) error {
	if name != "" {
		location += "?done=" + name
	}
	if isPartial(r) {
		w.Header().Set("HX-Redirect", location)
		return nil
	}
	http.Redirect(w, r, location, http.StatusSeeOther) //nolint:gosec // the location begins with a path of the console
	return nil
}

// notices are the texts that report the result of a form, by name.
var notices = map[string]string{
	"created":   "The credential is saved. Callers can use it now.",
	"edited":    "The changes are saved.",
	"rotated":   "Callers get the new version now.",
	"stored":    "The new version is saved. Callers get it when you activate it.",
	"activated": "Callers get this version now.",
	"canary":    "The callers that you named get this version now.",
	"withdrawn": "All callers get the active version now.",
	"destroyed": "The values of the version are erased.",
	"doubtful":  "Callers get this version now. The provider may have ended the secret of this version when it issued a newer secret: verify the version.",
	"deleted":   "The credential is deleted. You can restore it within 30 days.",
	"restored":  "The credential is restored.",
}

// detached returns a context for a change that must finish even if the browser disconnects.
func detached(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }
