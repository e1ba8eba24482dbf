package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// chooseView is the content of the page on which a person chooses a provider.
type chooseView struct {
	Search    string
	Providers []*authmaterialv1.Provider
}

func (c *Console) choose(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.Providers.ListProviders(r.Context(), &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	view := chooseView{r.FormValue("search"), matching(found.GetProviders(), r.FormValue("search"))}
	if isPartial(r) {
		c.pages.showPart(w, "choose", "found", view)
		return nil
	}
	c.pages.show(w, r, http.StatusOK, "choose", page{Title: "Add a credential", Section: "add", Body: view})
	return nil
}

// matching returns the providers whose name, description or ID contains a text.
func matching(all []*authmaterialv1.Provider, text string) []*authmaterialv1.Provider {
	text = strings.ToLower(strings.TrimSpace(text))
	return slices.DeleteFunc(slices.Clone(all), func(p *authmaterialv1.Provider) bool {
		return !strings.Contains(strings.ToLower(p.GetDisplayName()+"\n"+p.GetDescription()+"\n"+p.GetProviderId()), text)
	})
}

// formView is the content of a form for the values of a credential.
type formView struct {
	refusal

	Provider   *authmaterialv1.Provider
	Method     *authmaterialv1.AuthMethod
	Credential *authmaterialv1.Credential // the credential to rotate; nil in the form for a new one
	Etag       string                     // of the credential, when the form was first shown
	// Given has the texts that a person typed into fields that are not secret, by the field's name in
	// the form.
	Given  map[string]string
	Result *authmaterialv1.Verification
	// Part is true if only the result is shown, in a form that the browser keeps.
	Part bool
}

// Value returns what the form shows in a field, which is never a secret.
func (v formView) Value(f *authmaterialv1.Field) string {
	if given, ok := v.Given["values."+f.GetFieldId()]; ok {
		return given
	}
	return v.Credential.GetPublicValues()[f.GetFieldId()]
}

// ownFields are the names of the fields that belong to the credential, not to its values.
var ownFields = []string{"credential.display_name", "credential.description", "credential_id"}

// HelpURL returns the provider's page about the values, or about the provider.
func (v formView) HelpURL() string {
	return cmp.Or(v.Method.GetDocumentationUrl(), v.Provider.GetDocumentationUrl())
}

// OwnFields returns the names of the fields that belong to the credential, not to its values.
func (formView) OwnFields() []string { return ownFields }

// OtherProblems returns the problems of fields that the form does not show.
func (v formView) OtherProblems() []string {
	var others []string
	if v.Problem == nil {
		return nil
	}
	for name, text := range v.Problem.Fields {
		field, isValue := strings.CutPrefix(name, "values.")
		shown := isValue && slices.ContainsFunc(v.Method.GetFields(), func(f *authmaterialv1.Field) bool { return f.GetFieldId() == field })
		if !shown && !slices.Contains(ownFields, name) {
			others = append(others, text)
		}
	}
	slices.Sort(others)
	return others
}

// methodOf returns the provider and its auth method with these IDs. If there is no such auth method,
// the error is errMissing.
func (c *Console) methodOf(r *http.Request, provider, method string) (*authmaterialv1.Provider, *authmaterialv1.AuthMethod, error) {
	found, err := c.api.Providers.GetProvider(r.Context(), &authmaterialv1.GetProviderRequest{ProviderId: provider})
	if err != nil {
		return nil, nil, err
	}
	for _, known := range found.GetProvider().GetAuthMethods() {
		if known.GetAuthMethodId() == method {
			return found.GetProvider(), known, nil
		}
	}
	return nil, nil, errMissing
}

func (c *Console) addPage(w http.ResponseWriter, r *http.Request) error {
	provider, method, err := c.methodOf(r, r.PathValue("provider"), r.PathValue("method"))
	if err != nil {
		return err
	}
	c.showForm(w, r, http.StatusOK, "add", formView{Provider: provider, Method: method})
	return nil
}

func (c *Console) showForm(w http.ResponseWriter, r *http.Request, status int, name string, view formView) {
	if isPartial(r) {
		view.Part = true
		c.pages.showPart(w, name, "result", view)
		return
	}
	title := "Add a " + view.Provider.GetDisplayName() + " credential"
	if view.Credential != nil {
		title = "Rotate " + view.Credential.GetDisplayName()
	}
	c.pages.show(w, r, status, name, page{Title: title, Section: "add", Body: view})
}

// add saves a new credential, or verifies its values, depending on the button.
func (c *Console) add(w http.ResponseWriter, r *http.Request) error {
	provider, method, err := c.methodOf(r, r.PathValue("provider"), r.PathValue("method"))
	if err != nil {
		return err
	}
	view := formView{Provider: provider, Method: method, Given: given(r, method)}
	request := &authmaterialv1.CreateCredentialRequest{
		Credential: &authmaterialv1.Credential{
			DisplayName: textOf(r, "display_name"), Description: textOf(r, "description"),
			Provider: provider.GetProviderId(), AuthMethod: method.GetAuthMethodId(),
		},
		CredentialId: textOf(r, "credential_id"),
		Values:       valuesOf(r, method),
		ValidateOnly: r.PostFormValue("do") == "verify",
	}
	created, err := c.api.CreateCredential(detached(r), request)
	if err == nil && !request.GetValidateOnly() {
		return done(w, r, "/credentials/"+created.GetCredential().GetCredentialId(), "created")
	}
	if err == nil {
		var verified *authmaterialv1.VerifyCredentialResponse
		verified, err = c.api.VerifyCredential(detached(r), &authmaterialv1.VerifyCredentialRequest{
			CredentialId: created.GetCredential().GetCredentialId(), Provider: provider.GetProviderId(), AuthMethod: method.GetAuthMethodId(),
			Values: request.GetValues(),
		})
		view.Result = verified.GetVerification()
	}
	status := http.StatusOK
	if err != nil {
		shown := toProblem(err)
		view.Problem, status = &shown, shown.Status
	}
	c.showForm(w, r, status, "add", view)
	return nil
}

// textOf returns the text of a field, with LF at the end of a line: browsers send CRLF, which the API
// refuses. Space around the text is removed.
func textOf(r *http.Request, name string) string {
	return strings.TrimSpace(strings.ReplaceAll(r.PostFormValue(name), "\r\n", "\n"))
}

// valuesOf returns the values of a form. An empty field has no value.
func valuesOf(r *http.Request, method *authmaterialv1.AuthMethod) []*authmaterialv1.FieldValue {
	var values []*authmaterialv1.FieldValue
	for _, field := range method.GetFields() {
		if value := r.PostFormValue("values." + field.GetFieldId()); value != "" {
			values = append(values, &authmaterialv1.FieldValue{Field: field.GetFieldId(), Value: value})
		}
	}
	return values
}

// given returns what a form contains, without secrets.
func given(r *http.Request, method *authmaterialv1.AuthMethod) map[string]string {
	all := map[string]string{}
	for _, name := range []string{"display_name", "description", "credential_id"} {
		all[name] = r.PostFormValue(name)
	}
	for _, field := range method.GetFields() {
		if name := "values." + field.GetFieldId(); !field.GetSecret() {
			all[name] = r.PostFormValue(name)
		}
	}
	return all
}
