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
	if err == nil {
		err = c.mayChange(r, view.Credential)
	}
	if err != nil {
		return err
	}
	c.showForm(w, r, http.StatusOK, "rotate", view)
	return nil
}

// mayChange returns an error unless the person may change a credential.
func (c *Console) mayChange(r *http.Request, credential *authmaterialv1.Credential) error {
	explained, err := c.api.ExplainAccess(r.Context(), &authmaterialv1.ExplainAccessRequest{CredentialId: credential.GetCredentialId()})
	switch {
	case err != nil:
		return err
	case !slices.Contains(explained.GetAllowedActions(), "manage"):
		return connect.NewError(connect.CodePermissionDenied, errors.New("changing this credential needs a grant with the action manage"))
	case credential.GetOrigin() != authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_MANAGED:
		return connect.NewError(connect.CodeFailedPrecondition, errors.New("this credential is declared in the configuration file: change it there"))
	}
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
		AllowedHosts:       linesOf(textOf(r, "allowed_hosts")),
	}
	if err := view.unchanged(request); err != nil {
		c.refuseForm(w, r, "rotate", view, err)
		return nil
	}
	made, err := c.api.CreateCredentialVersion(detached(r), request)
	if err != nil {
		c.refuseForm(w, r, "rotate", view, err)
		return nil
	}
	if request.GetActivate() && made.GetVersion().GetState() != authmaterialv1.VersionState_VERSION_STATE_ACTIVE {
		view.Result, view.Etag, view.Stored = made.GetVersion().GetVerification(), made.GetCredential().GetEtag(), made.GetVersion().GetVersion()
		c.showForm(w, r, http.StatusOK, "rotate", view)
		return nil
	}
	name := "stored"
	if request.GetActivate() {
		name = "rotated"
	}
	return done(w, r, "/credentials/"+request.GetCredentialId(), name)
}

// unchanged returns an error if a new version has only values and hosts that the credential has already.
func (v formView) unchanged(request *authmaterialv1.CreateCredentialVersionRequest) error {
	saved := v.Credential.GetPublicValues()
	isNew := func(value *authmaterialv1.FieldValue) bool {
		old, public := saved[value.GetField()]
		return !public || old != value.GetValue()
	}
	if len(request.GetAllowedHosts()) > 0 || slices.ContainsFunc(request.GetValues(), isNew) {
		return nil
	}
	first := "values"
	for _, field := range slices.Backward(v.Method.GetFields()) {
		if field.GetSecret() {
			first = "values." + field.GetFieldId()
		}
	}
	return invalid(first, "you entered no new value. Enter at least one")
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
		return c.showCredential(w, r, unconfirmed("tick the box to confirm"), nil)
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
	if len(callers) == 0 && r.PostFormValue("anyway") == "" {
		if err := c.notRefused(r); err != nil {
			return c.showCredential(w, r, err, nil)
		}
	}
	made, err := c.api.ActivateCredentialVersion(detached(r), &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: r.PathValue("id"), Version: versionOf(r), Etag: r.PostFormValue("etag"), Callers: callers,
	})
	name := "activated"
	switch {
	case len(callers) > 0 && made.GetWarning() != "":
		return c.showCredentialWith(w, r, &problem{Status: http.StatusOK, Title: "The canary is set, but check it", Text: made.GetWarning()}, nil)
	case len(callers) > 0:
		name = "canary"
	case made.GetWarning() != "":
		name = "doubtful"
	}
	return c.changed(w, r, err, name)
}

// notRefused returns an error if the provider refused the version of a form when it was last verified.
func (c *Console) notRefused(r *http.Request) error {
	found, err := c.api.ListCredentialVersions(r.Context(), &authmaterialv1.ListCredentialVersionsRequest{CredentialId: r.PathValue("id")})
	if err != nil {
		return nil //nolint:nilerr // the activation fails for the same reason
	}
	for _, version := range found.GetVersions() {
		if version.GetVersion() == versionOf(r) && isRefused(version) {
			return unconfirmed("Nothing was changed. The provider refused the values of this version. To activate them anyway, tick the box at the version first")
		}
	}
	return nil
}

func isRefused(version *authmaterialv1.CredentialVersion) bool {
	return version.GetVerification().GetOutcome() == authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_REFUSED
}

func (c *Console) withdraw(w http.ResponseWriter, r *http.Request) error {
	_, err := c.api.WithdrawCanary(detached(r), &authmaterialv1.WithdrawCanaryRequest{
		CredentialId: r.PathValue("id"), Etag: r.PostFormValue("etag"),
	})
	return c.changed(w, r, err, "withdrawn")
}

// unconfirmed returns the error of a form whose box to confirm is not ticked. Browsers do not send
// such a form.
func unconfirmed(text string) error {
	return connect.NewError(connect.CodeInvalidArgument, errors.New(text))
}

func (c *Console) destroy(w http.ResponseWriter, r *http.Request) error {
	err := unconfirmed("Nothing was erased. Tick the box above Destroy first")
	if r.PostFormValue("confirm") != "" {
		_, err = c.api.DestroyCredentialVersion(detached(r), &authmaterialv1.DestroyCredentialVersionRequest{
			CredentialId: r.PathValue("id"), Version: versionOf(r), Etag: r.PostFormValue("etag"),
		})
	}
	return c.changed(w, r, err, "destroyed")
}

func (c *Console) delete(w http.ResponseWriter, r *http.Request) error {
	err := unconfirmed("Nothing was deleted. Tick the box below Delete first")
	if r.PostFormValue("confirm") != "" {
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

	Labels    string // one `key=value` on each line
	Expires   string // a date, or empty
	UsesToken bool   // whether callers get a token, which the broker can keep warm
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
		if !slices.Contains(editFields, name) {
			others = append(others, nameLabel(name)+v.Problem.Fields[name])
		}
	}
	return others
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
