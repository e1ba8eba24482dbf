package console

import (
	"errors"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// changed redirects to the page of a credential after a change. If the change failed, changed shows the
// page with the reason.
func (c *Console) changed(w http.ResponseWriter, r *http.Request, err error, name string) error {
	if err != nil {
		return c.showCredential(w, r, err, nil)
	}
	return done(w, r, "/credentials/"+r.PathValue("id"), name)
}

// unconfirmed returns the error of a form whose box to confirm is not ticked. Browsers do not send
// such a form.
func unconfirmed(text string) error {
	return connect.NewError(connect.CodeInvalidArgument, errors.New(text))
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
