package console

import (
	"cmp"
	"errors"
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

// add saves a new credential, or verifies its values, depending on the button.
func (c *Console) add(w http.ResponseWriter, r *http.Request) error {
	provider, method, err := c.methodOf(r, r.PathValue("provider"), r.PathValue("method"))
	if err != nil {
		return err
	}
	view := formView{Provider: provider, Method: method, Given: given(r, method)}
	var made *authmaterialv1.Credential
	request, err := newCredential(r, provider, method)
	if err == nil {
		made, err = c.create(r, request)
	}
	if err == nil && request.GetValidateOnly() {
		view.Result, err = c.verify(r, method, made, request)
	}
	switch {
	case err != nil:
		c.refuseForm(w, r, "add", view, err)
	case request.GetValidateOnly():
		c.showForm(w, r, http.StatusOK, "add", view)
	default:
		return done(w, r, "/credentials/"+made.GetCredentialId(), "created")
	}
	return nil
}

// newCredential returns the call for the content of the form.
func newCredential(r *http.Request, provider *authmaterialv1.Provider, method *authmaterialv1.AuthMethod) (*authmaterialv1.CreateCredentialRequest, error) {
	request := &authmaterialv1.CreateCredentialRequest{
		Credential: &authmaterialv1.Credential{
			DisplayName: textOf(r, "display_name"), Description: textOf(r, "description"),
			Provider: provider.GetProviderId(), AuthMethod: method.GetAuthMethodId(),
		},
		CredentialId: textOf(r, "credential_id"),
		AllowedHosts: linesOf(textOf(r, "allowed_hosts")),
		ValidateOnly: r.PostFormValue("do") == "verify",
	}
	var err error
	if request.Values, err = valuesOf(r, method); err != nil {
		return nil, err
	}
	if err = incomplete(request, method); err != nil {
		return nil, err
	}
	if request.Credential.Labels, err = fromLines(textOf(r, "labels")); err != nil {
		return nil, err
	}
	request.Credential.SecretExpireTime, err = fromDate(textOf(r, "secret_expire_time"))
	return request, err
}

// create makes the call. If the person has no grant for the ID, the error is shown at its field.
func (c *Console) create(r *http.Request, request *authmaterialv1.CreateCredentialRequest) (*authmaterialv1.Credential, error) {
	created, err := c.api.CreateCredential(detached(r), request)
	if connect.CodeOf(err) == connect.CodePermissionDenied {
		id := cmp.Or(request.GetCredentialId(), credentials.IDOf(request.GetCredential().GetDisplayName()))
		err = withFields(connect.CodePermissionDenied, map[string]string{
			"credential_id": "you may not create a credential with the ID " + id + ". Enter an ID that your grants allow",
		})
	}
	return created.GetCredential(), err
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

var errUnallowed = invalid("allow_token_replacement", "tick the box to verify the values, or save them without a verification")

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
