package console

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// rotation returns the content of the form that rotates a credential.
func (c *Console) rotation(r *http.Request) (formView, error) {
	found, err := c.api.GetCredential(r.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: r.PathValue("id")})
	if err != nil {
		return formView{}, err
	}
	credential := found.GetCredential()
	provider, method, err := c.methodOf(r, credential.GetProvider(), credential.GetAuthMethod())
	return formView{Provider: provider, Method: method, Credential: credential, Etag: credential.GetEtag()}, err
}

func (c *Console) rotatePage(w http.ResponseWriter, r *http.Request) error {
	view, err := c.rotation(r)
	if err != nil {
		return err
	}
	c.showForm(w, r, http.StatusOK, "rotate", view)
	return nil
}

// rotate adds a version with the values of a form. Depending on the button, the version is verified
// and activated, or only saved.
func (c *Console) rotate(w http.ResponseWriter, r *http.Request) error {
	view, err := c.rotation(r)
	if err != nil {
		return err
	}
	view.Given, view.Etag = given(r, view.Method), r.PostFormValue("etag")
	values, err := valuesOf(r, view.Method)
	if err != nil {
		c.refuseForm(w, r, "rotate", view, err)
		return nil
	}
	request := &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: r.PathValue("id"), Etag: view.Etag, Values: values,
		Verify:             r.PostFormValue("do") == "rotate",
		Activate:           r.PostFormValue("do") == "rotate" || r.PostFormValue("do") == "use",
		AcceptInconclusive: r.PostFormValue("accept_inconclusive") != "",
	}
	made, err := c.api.CreateCredentialVersion(detached(r), request)
	if err != nil {
		c.refuseForm(w, r, "rotate", view, err)
		return nil
	}
	if request.GetActivate() && made.GetVersion().GetState() != authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
		view.Result, view.Etag = made.GetVersion().GetVerification(), made.GetCredential().GetEtag()
		c.showForm(w, r, http.StatusOK, "rotate", view)
		return nil
	}
	name := "stored"
	if request.GetActivate() {
		name = "rotated"
	}
	return done(w, r, "/credentials/"+request.GetCredentialId(), name)
}

// changed redirects to the page of a credential after a change. If the change failed, changed shows the
// page with the reason.
func (c *Console) changed(w http.ResponseWriter, r *http.Request, err error, name string) error {
	if err != nil {
		return c.showCredential(w, r, err, nil)
	}
	return done(w, r, "/credentials/"+r.PathValue("id"), name)
}

func versionOf(r *http.Request) int32 {
	number, _ := strconv.ParseInt(r.PostFormValue("version"), 10, 32) // the API refuses 0
	return int32(number)
}

func (c *Console) verifyStored(w http.ResponseWriter, r *http.Request) error {
	allowed := r.PostFormValue("allow_token_replacement") != ""
	if r.PostFormValue("do") == "replace" && !allowed {
		return c.showCredential(w, r, errUnconfirmed, nil)
	}
	verified, err := c.api.VerifyCredential(detached(r), &authmaterialv1.VerifyCredentialRequest{
		CredentialId: r.PathValue("id"), Version: versionOf(r), AllowTokenReplacement: allowed,
	})
	return c.showCredential(w, r, err, verified.GetVerification())
}

// activate makes a version the active one, or gives it to the callers that a form names.
func (c *Console) activate(w http.ResponseWriter, r *http.Request) error {
	callers := linesOf(r.PostFormValue("callers"))
	if r.PostFormValue("do") == "canary" && len(callers) == 0 {
		err := connect.NewError(connect.CodeInvalidArgument, errors.New("enter the callers that get the version, one on each line, such as spiffe://example.org/mailer"))
		return c.showCredential(w, r, err, nil)
	}
	made, err := c.api.ActivateCredentialVersion(detached(r), &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: r.PathValue("id"), Version: versionOf(r), Etag: r.PostFormValue("etag"), Callers: callers,
	})
	name := "activated"
	switch {
	case len(callers) > 0:
		name = "canary"
	case made.GetWarning() != "":
		name = "doubtful"
	}
	return c.changed(w, r, err, name)
}

func (c *Console) withdraw(w http.ResponseWriter, r *http.Request) error {
	_, err := c.api.WithdrawCanary(detached(r), &authmaterialv1.WithdrawCanaryRequest{
		CredentialId: r.PathValue("id"), Etag: r.PostFormValue("etag"),
	})
	return c.changed(w, r, err, "withdrawn")
}

var errUnconfirmed = connect.NewError(connect.CodeInvalidArgument, errors.New("tick the box to confirm"))

func confirmed(r *http.Request) error {
	if r.PostFormValue("confirm") == "" {
		return errUnconfirmed
	}
	return nil
}

func (c *Console) destroy(w http.ResponseWriter, r *http.Request) error {
	err := confirmed(r)
	if err == nil {
		_, err = c.api.DestroyCredentialVersion(detached(r), &authmaterialv1.DestroyCredentialVersionRequest{
			CredentialId: r.PathValue("id"), Version: versionOf(r), Etag: r.PostFormValue("etag"),
		})
	}
	return c.changed(w, r, err, "destroyed")
}

func (c *Console) delete(w http.ResponseWriter, r *http.Request) error {
	err := confirmed(r)
	if err == nil {
		_, err = c.api.DeleteCredential(detached(r), &authmaterialv1.DeleteCredentialRequest{
			CredentialId: r.PathValue("id"), Etag: r.PostFormValue("etag"),
		})
	}
	return c.changed(w, r, err, "deleted")
}

func (c *Console) restore(w http.ResponseWriter, r *http.Request) error {
	_, err := c.api.UndeleteCredential(detached(r), &authmaterialv1.UndeleteCredentialRequest{CredentialId: r.PathValue("id")})
	return c.changed(w, r, err, "restored")
}

// editView is the content of the form for the description of a credential.
type editView struct {
	*authmaterialv1.Credential
	refusal

	Labels  string // one `key=value` on each line
	Expires string // a date, or empty
}

// editFields are the API's names of the fields that the form shows.
var editFields = []string{"credential.display_name", "credential.description", "credential.labels", "credential.secret_expire_time"}

// OtherProblems returns the problems that the form cannot show at a field, such as those of single
// labels.
func (v editView) OtherProblems() []string {
	var others []string
	if v.Problem == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.Problem.Fields)) {
		if label, ok := strings.CutPrefix(name, "credential.labels."); ok {
			others = append(others, "Label "+label+": "+v.Problem.Fields[name])
		} else if !slices.Contains(editFields, name) {
			others = append(others, v.Problem.Fields[name])
		}
	}
	return others
}

func (c *Console) editPage(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.GetCredential(r.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: r.PathValue("id")})
	if err != nil {
		return err
	}
	c.showEdit(w, r, http.StatusOK, newEditView(found.GetCredential()))
	return nil
}

func newEditView(credential *authmaterialv1.Credential) editView {
	view := editView{Credential: credential, Labels: toLines(credential.GetLabels())}
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
	before := newEditView(found.GetCredential())
	edited := &authmaterialv1.Credential{
		CredentialId: r.PathValue("id"), Etag: r.PostFormValue("etag"),
		DisplayName: textOf(r, "display_name"), Description: textOf(r, "description"),
		Disabled: r.PostFormValue("disabled") != "", KeepWarm: r.PostFormValue("keep_warm") != "",
		Labels: before.GetLabels(), SecretExpireTime: before.GetSecretExpireTime(),
	}
	view := editView{Credential: edited, Labels: textOf(r, "labels"), Expires: textOf(r, "secret_expire_time")}
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
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("write the date as year-month-day, such as 2027-01-31"))
	}
	return timestamppb.New(day), nil
}
