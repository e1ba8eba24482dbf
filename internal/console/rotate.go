package console

import (
	"errors"
	"net/http"
	"slices"

	"connectrpc.com/connect"

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
