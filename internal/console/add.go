package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/credentials"
)

// chooseView is the content of the page on which a person chooses a provider.
type chooseView struct {
	Search    string
	Providers []*authmaterialv1.Provider
}

func (c *Console) choose(w http.ResponseWriter, r *http.Request) error {
	if !personOf(r).mayAdd {
		return errMayNotAdd
	}
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

var errMayNotAdd = connect.NewError(connect.CodePermissionDenied,
	errors.New("adding credentials needs a credential store, and a grant with the action manage that names credential IDs"))

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
	// Stored is the number of the version that has the refused values; 0 if they were not saved.
	Stored int32
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

// These are the API's names of the fields that are not values, in the form for a new credential and in
// the form that rotates a credential.
var (
	newFields = []string{
		"credential.display_name", "credential.description", "credential.labels", "credential.secret_expire_time", "allowed_hosts", "credential_id",
	}
	rotateFields = []string{"allowed_hosts"}
)

// HelpURL returns the provider's page about the values, or about the provider.
func (v formView) HelpURL() string {
	return cmp.Or(v.Method.GetDocumentationUrl(), v.Provider.GetDocumentationUrl())
}

// AsksForReplacement reports whether a person must allow that a verification ends the token in use.
func (v formView) AsksForReplacement() bool { return asksForReplacement(v.Method) }

// OwnFields returns the API's names of the fields that are not values.
func (v formView) OwnFields() []string {
	switch {
	case v.Credential != nil:
		return rotateFields
	case v.AsksForReplacement():
		return append(slices.Clone(newFields), "allow_token_replacement")
	}
	return newFields
}

// OtherProblems returns the problems of fields that the form does not show.
func (v formView) OtherProblems() []string {
	var others []string
	if v.Problem == nil {
		return nil
	}
	for name, text := range v.Problem.Fields {
		field, isValue := strings.CutPrefix(name, "values.")
		shown := isValue && slices.ContainsFunc(v.Method.GetFields(), func(f *authmaterialv1.Field) bool { return f.GetFieldId() == field })
		if !shown && !slices.Contains(v.OwnFields(), name) {
			others = append(others, nameLabel(name)+text)
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
	if !personOf(r).mayAdd {
		return errMayNotAdd
	}
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
	shown := page{Title: "Add a " + view.Provider.GetDisplayName() + " credential", Section: "add", Body: view}
	if view.Credential != nil {
		shown.Title, shown.Section = "Rotate "+view.Credential.GetDisplayName(), "credentials"
	}
	c.pages.show(w, r, status, name, shown)
}

// refuseForm shows a form again, with the reason why it was refused.
func (c *Console) refuseForm(w http.ResponseWriter, r *http.Request, name string, view formView, err error) {
	shown := toProblem(err)
	for n, host := range linesOf(textOf(r, "allowed_hosts")) { // the problem of a host is shown at the field of all hosts
		at := fmt.Sprintf("allowed_hosts[%d]", n)
		if text, bad := shown.Fields[at]; bad {
			delete(shown.Fields, at)
			shown.Fields["allowed_hosts"] = strings.TrimSpace(shown.Fields["allowed_hosts"] + " " + host + ": " + text)
		}
	}
	view.Problem = &shown
	c.showForm(w, r, shown.Status, name, view)
}

var errUnallowed = invalid("allow_token_replacement", "tick the box to verify the values, or save them without a verification")

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
		AllowedHosts: linesOf(textOf(r, "allowed_hosts")),
		ValidateOnly: r.PostFormValue("do") == "verify",
	}
	var created *authmaterialv1.CreateCredentialResponse
	if request.Values, err = valuesOf(r, method); err == nil {
		err = incomplete(request, method)
	}
	if err == nil {
		request.Credential.Labels, err = fromLines(textOf(r, "labels"))
	}
	if err == nil {
		request.Credential.SecretExpireTime, err = fromDate(textOf(r, "secret_expire_time"))
	}
	if err == nil {
		created, err = c.api.CreateCredential(detached(r), request)
	}
	if connect.CodeOf(err) == connect.CodePermissionDenied {
		id := cmp.Or(request.GetCredentialId(), credentials.IDOf(request.GetCredential().GetDisplayName()))
		err = withFields(connect.CodePermissionDenied, map[string]string{
			"credential_id": "you may not create a credential with the ID " + id + ". Enter an ID that your grants allow",
		})
	}
	if err == nil && !request.GetValidateOnly() {
		return done(w, r, "/credentials/"+created.GetCredential().GetCredentialId(), "created")
	}
	if err == nil {
		view.Result, err = c.verify(r, method, created.GetCredential(), request)
	}
	if err != nil {
		c.refuseForm(w, r, "add", view, err)
		return nil
	}
	c.showForm(w, r, http.StatusOK, "add", view)
	return nil
}

// verify verifies the values of a credential that is not saved.
func (c *Console) verify(
	r *http.Request, method *authmaterialv1.AuthMethod, credential *authmaterialv1.Credential, request *authmaterialv1.CreateCredentialRequest,
) (*authmaterialv1.Verification, error) {
	allowed := r.PostFormValue("allow_token_replacement") != ""
	if asksForReplacement(method) && !allowed {
		return nil, errUnallowed
	}
	verified, err := c.api.VerifyCredential(detached(r), &authmaterialv1.VerifyCredentialRequest{
		CredentialId: credential.GetCredentialId(), Provider: credential.GetProvider(), AuthMethod: credential.GetAuthMethod(),
		Values: request.GetValues(), AllowedHosts: request.GetAllowedHosts(), AllowTokenReplacement: allowed,
	})
	return verified.GetVerification(), err
}

// incomplete returns an error if a new credential lacks its name or required values. The API reports
// the values only after the name, because it makes the ID from the name.
func incomplete(request *authmaterialv1.CreateCredentialRequest, method *authmaterialv1.AuthMethod) error {
	fields := map[string]string{}
	if request.GetCredential().GetDisplayName() == "" {
		fields["credential.display_name"] = "enter a name (up to 128 characters)"
	}
	for _, field := range method.GetFields() {
		given := slices.ContainsFunc(request.GetValues(), func(v *authmaterialv1.FieldValue) bool { return v.GetField() == field.GetFieldId() })
		if field.GetRequired() && !given {
			fields["values."+field.GetFieldId()] = "enter the " + field.GetDisplayName()
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return withFields(connect.CodeInvalidArgument, fields)
}

// textOf returns the text of a field, with LF at the end of a line: browsers send CRLF, which the API
// refuses. Space around the text is removed.
func textOf(r *http.Request, name string) string {
	return strings.TrimSpace(strings.ReplaceAll(r.PostFormValue(name), "\r\n", "\n"))
}

// valuesOf returns the values of a form. An empty field has no value.
func valuesOf(r *http.Request, method *authmaterialv1.AuthMethod) ([]*authmaterialv1.FieldValue, error) {
	var values []*authmaterialv1.FieldValue
	for _, field := range method.GetFields() {
		name := "values." + field.GetFieldId()
		value := r.PostFormValue(name)
		if lines := severalLines(r, field); lines != "" {
			if value != "" {
				return nil, invalid(name, "enter the value in only one of the two fields")
			}
			value = lines
		}
		if value != "" {
			values = append(values, &authmaterialv1.FieldValue{Field: field.GetFieldId(), Value: value})
		}
	}
	return values, nil
}

// severalLines returns the value of a field that a person entered in several lines, without the line
// break at its end, like the content of a file.
func severalLines(r *http.Request, field *authmaterialv1.Field) string {
	if !field.GetMultiline() {
		return ""
	}
	return strings.TrimSuffix(strings.ReplaceAll(r.PostFormValue("lines."+field.GetFieldId()), "\r\n", "\n"), "\n")
}

// given returns what a form contains, without secrets.
func given(r *http.Request, method *authmaterialv1.AuthMethod) map[string]string {
	all := map[string]string{}
	for _, name := range []string{"display_name", "description", "labels", "secret_expire_time", "allowed_hosts", "credential_id", "allow_token_replacement"} {
		all[name] = r.PostFormValue(name)
	}
	for _, field := range method.GetFields() {
		if name := "values." + field.GetFieldId(); !field.GetSecret() {
			all[name] = r.PostFormValue(name)
		}
	}
	return all
}
