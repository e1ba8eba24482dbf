package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// editView is the content of the form for the description of a credential.
type editView struct {
	*authmaterialv1.Credential
	refusal

	Labels    string // one `key=value` on each line
	Expires   string // a date, or empty
	UsesToken bool   // whether callers get a token, which the broker can keep warm
}

// editFields are the API's names of the fields that the form shows.
var editFields = []string{"credential.display_name", "credential.description", "credential.labels", "credential.secret_expire_time"}

// OtherProblems returns the problems that the form cannot show at a field.
func (v editView) OtherProblems() []string {
	return v.otherProblems(func(name string) bool { return slices.Contains(editFields, name) })
}

func (c *Console) editPage(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.GetCredential(r.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: r.PathValue("id")})
	if err != nil {
		return err
	}
	if err := c.mayChange(r, found.GetCredential()); err != nil {
		return err
	}
	c.showEdit(w, r, http.StatusOK, c.newEditView(r, found.GetCredential()))
	return nil
}

func (c *Console) newEditView(r *http.Request, credential *authmaterialv1.Credential) editView {
	view := editView{Credential: credential, Labels: toLines(credential.GetLabels())}
	_, method, err := c.methodOf(r, credential.GetProvider(), credential.GetAuthMethod())
	view.UsesToken = err != nil || method.GetUsesToken()
	if at := credential.GetSecretExpireTime(); at != nil {
		view.Expires = at.AsTime().UTC().Format(time.DateOnly)
	}
	return view
}

func (c *Console) showEdit(w http.ResponseWriter, r *http.Request, status int, view editView) {
	c.pages.show(w, r, status, "edit", page{Title: "Edit " + view.GetDisplayName(), Section: "credentials", Body: view})
}

var editable = []string{"display_name", "description", "labels", "disabled", "keep_warm", "secret_expire_time"}

// edit changes the description of a credential. The form shows a day instead of the time at which the
// secret expires, and a line for each label, so values that the person has not changed stay as they are.
func (c *Console) edit(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.GetCredential(r.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: r.PathValue("id")})
	if err != nil {
		return err
	}
	before := c.newEditView(r, found.GetCredential())
	edited := &authmaterialv1.Credential{
		CredentialId: r.PathValue("id"), Etag: r.PostFormValue("etag"),
		DisplayName: textOf(r, "display_name"), Description: textOf(r, "description"),
		Disabled: r.PostFormValue("disabled") != "", KeepWarm: r.PostFormValue("keep_warm") != "" || !before.UsesToken && before.GetKeepWarm(),
		Labels: before.GetLabels(), SecretExpireTime: before.GetSecretExpireTime(),
	}
	view := editView{Credential: edited, Labels: textOf(r, "labels"), Expires: textOf(r, "secret_expire_time"), UsesToken: before.UsesToken}
	if view.Labels != strings.TrimSpace(before.Labels) {
		edited.Labels, err = fromLines(view.Labels)
	}
	if err == nil && view.Expires != before.Expires {
		edited.SecretExpireTime, err = fromDate(view.Expires)
	}
	if err == nil {
		_, err = c.api.UpdateCredential(detached(r), &authmaterialv1.UpdateCredentialRequest{
			Credential: edited, UpdateMask: &fieldmaskpb.FieldMask{Paths: editable}, Etag: edited.GetEtag(),
		})
	}
	if err != nil {
		shown := toProblem(err)
		view.Problem = &shown
		c.showEdit(w, r, shown.Status, view)
		return nil
	}
	return done(w, r, "/credentials/"+edited.GetCredentialId(), "edited")
}

func fromDate(text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no date
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, invalid("credential.secret_expire_time", "write the date as year-month-day, such as 2027-01-31")
	}
	return timestamppb.New(day), nil
}
