package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// tilesPerPage is the number of credentials on a page of the list.
const tilesPerPage = 48

// listView is the content of the list of credentials.
type listView struct {
	Search, Provider, Label string
	Disabled, Deleted       bool
	Providers               []*authmaterialv1.Provider
	Tiles                   []tile
	Next                    string // the query of the next page; empty on the last page
	Filtered                bool
	Later                   bool   // whether this is not the first page
	MayAdd                  bool   // whether the person may add credentials
	States                  string // the address of the stream of states; empty if there are no tiles
	HasStore                bool   // whether the broker has a credential store
	Problem                 *problem
}

// IsEmpty reports whether there is no credential, so that a search finds nothing.
func (v listView) IsEmpty() bool {
	return len(v.Tiles) == 0 && v.Next == "" && !v.Later && !v.Filtered && !v.Deleted && v.Problem == nil
}

// tile is one credential in the list.
type tile struct {
	*authmaterialv1.Credential
	ProviderName string
}

const badSearch = "Write a label as key=value, such as team=growth. If you opened a link to a later page of the list, start the search again."

func (c *Console) home(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, "/credentials", http.StatusSeeOther)
	return nil
}

func (c *Console) list(w http.ResponseWriter, r *http.Request) error {
	view := listView{
		Search: r.FormValue("search"), Provider: r.FormValue("provider"), Label: r.FormValue("label"),
		Disabled: r.FormValue("disabled") != "", Deleted: r.FormValue("deleted") != "", MayAdd: personOf(r).mayAdd, HasStore: c.options.HasStore(),
	}
	providers, err := c.api.Providers.ListProviders(r.Context(), &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	view.Providers = providers.GetProviders()
	filter := view.filter()
	view.Filtered, view.Later = filter != "", r.FormValue("page") != ""
	found, err := c.api.ListCredentials(r.Context(), &authmaterialv1.ListCredentialsRequest{
		PageSize: tilesPerPage, PageToken: r.FormValue("page"), Filter: filter, ShowDeleted: view.Deleted, ShowLastUse: true,
	})
	status := http.StatusOK
	if err != nil {
		shown := toProblem(err)
		if shown.Fields != nil { // people see neither the filter nor the page token
			shown.Fields, shown.Text = nil, badSearch
		}
		view.Problem, status = &shown, shown.Status
	}
	view.Tiles = tilesOf(found.GetCredentials(), view.Providers)
	if token := found.GetNextPageToken(); token != "" {
		query := r.URL.Query()
		query.Set("page", token)
		view.Next = "?" + query.Encode()
	}
	view.States = statesOf(view.Tiles)
	if isPartial(r) && r.Header.Get("HX-Target") == "found" {
		c.pages.showPart(w, "credentials", "found", view)
		return nil
	}
	c.pages.show(w, r, status, "credentials", page{Title: "Credentials", Section: "credentials", Body: view})
	return nil
}

// filter returns the filter of the API for what a person has typed.
func (v listView) filter() string {
	var conditions []string
	if v.Search != "" {
		conditions = append(conditions, "display_name:"+quote(v.Search))
	}
	if v.Provider != "" {
		conditions = append(conditions, "provider = "+quote(v.Provider))
	}
	if key, value, ok := strings.Cut(v.Label, "="); ok {
		conditions = append(conditions, "labels."+strings.TrimSpace(key)+" = "+quote(strings.TrimSpace(value)))
	} else if v.Label != "" {
		conditions = append(conditions, quote(v.Label)) // which the API refuses
	}
	if v.Disabled {
		conditions = append(conditions, "disabled = true")
	}
	return strings.Join(conditions, " AND ")
}

// quote returns a text in the form that a filter accepts, which cannot contain quotes and backslashes.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, "", `"`, "").Replace(text) + `"`
}

func tilesOf(from []*authmaterialv1.Credential, providers []*authmaterialv1.Provider) []tile {
	all := make([]tile, len(from))
	for i, credential := range from {
		all[i] = tile{credential, nameOf(providers, credential.GetProvider())}
	}
	return all
}

func nameOf(providers []*authmaterialv1.Provider, id string) string {
	at := slices.IndexFunc(providers, func(p *authmaterialv1.Provider) bool { return p.GetProviderId() == id })
	if at < 0 {
		return id
	}
	return providers[at].GetDisplayName()
}

func statesOf(tiles []tile) string {
	query := url.Values{}
	for _, t := range tiles {
		query.Add("id", t.GetCredentialId())
	}
	if len(query) == 0 {
		return ""
	}
	return "/states?" + query.Encode()
}
