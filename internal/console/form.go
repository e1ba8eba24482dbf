package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

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

// HelpURL returns the provider's page about the values, or about the provider.
func (v formView) HelpURL() string {
	return cmp.Or(v.Method.GetDocumentationUrl(), v.Provider.GetDocumentationUrl())
}

// AsksForReplacement reports whether a person must allow that a verification ends the token in use.
func (v formView) AsksForReplacement() bool { return asksForReplacement(v.Method) }

// These are the API's names of the fields that are not values, in the form for a new credential and in
// the form that rotates a credential.
var (
	newFields = []string{
		"credential.display_name", "credential.description", "credential.labels", "credential.secret_expire_time", "allowed_hosts", "credential_id",
	}
	rotateFields = []string{"allowed_hosts"}
)

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

// OtherProblems returns the problems that the form cannot show at a field.
func (v formView) OtherProblems() []string {
	return v.otherProblems(func(name string) bool {
		id, isValue := strings.CutPrefix(name, "values.")
		hasID := func(f *authmaterialv1.Field) bool { return f.GetFieldId() == id }
		return slices.Contains(v.OwnFields(), name) || isValue && slices.ContainsFunc(v.Method.GetFields(), hasID)
	})
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
	shown.nameLines("allowed_hosts", linesOf(textOf(r, "allowed_hosts")))
	view.Problem = &shown
	c.showForm(w, r, shown.Status, name, view)
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
		if field.GetMultiline() {
			value = strings.ReplaceAll(value, "\r\n", "\n")
		}
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
