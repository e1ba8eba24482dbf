package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// A page shows at most recentEvents entries of the history, and the grants of at most recentCallers
// callers.
const (
	recentEvents  = 20
	recentCallers = 10
)

// credentialView is the content of the page of one credential.
type credentialView struct {
	*authmaterialv1.Credential
	Provider *authmaterialv1.Provider
	Method   *authmaterialv1.AuthMethod
	Status   *authmaterialv1.CredentialStatus
	Versions []*authmaterialv1.CredentialVersion
	Events   []*authmaterialv1.CredentialEvent
	Unread   bool                                  // the store cannot be read, so Versions and Events are missing
	Access   *authmaterialv1.ExplainAccessResponse // of the person who has signed in
	// Grants has the grants that name recent callers and allow them to use the credential, by caller. A
	// caller whom only the grant of a group allows is missing. Grants is empty if the person may not
	// see grants, or if the configuration has none.
	Grants map[string]string
	States string
	// Commands get the credential. CommandsNote explains what to replace in them.
	Commands     []command
	CommandsNote string
	Created      bool // whether the person has just added the credential
	Problem      *problem
	Result       *authmaterialv1.Verification // of the verification that the person has just requested
}

// May reports whether the person may perform an action on the credential.
func (v credentialView) May(action string) bool {
	return slices.Contains(v.Access.GetAllowedActions(), action)
}

// Managed reports whether the credential is in the store, so that it can be changed.
func (v credentialView) Managed() bool {
	return v.GetOrigin() == authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_MANAGED
}

// Changeable reports whether the page offers changes.
func (v credentialView) Changeable() bool {
	return v.Managed() && v.May("manage") && v.GetDeleteTime() == nil
}

// VerifiesAtOnce reports whether a button verifies a version. Otherwise, either the versions cannot be
// verified, or AsksForReplacement is true.
func (v credentialView) VerifiesAtOnce() bool {
	return v.Method.GetVerifiable() && !v.AsksForReplacement()
}

// AsksForReplacement reports whether a person must allow that a verification ends the token in use.
func (v credentialView) AsksForReplacement() bool { return asksForReplacement(v.Method) }

func asksForReplacement(method *authmaterialv1.AuthMethod) bool {
	return method.GetVerifiable() && method.GetEndsPreviousToken()
}

// ProviderName returns the name of the provider, or its ID if the broker does not know the provider.
func (v credentialView) ProviderName() string {
	return cmp.Or(v.Provider.GetDisplayName(), v.GetProvider())
}

// FieldName returns the name of a field of the auth method.
func (v credentialView) FieldName(id string) string {
	for _, field := range v.Method.GetFields() {
		if field.GetFieldId() == id {
			return field.GetDisplayName()
		}
	}
	return id
}

// Previous returns the newest version before the active one that has been active and can be
// activated again. It leaves out versions that the provider refused when they were last verified.
func (v credentialView) Previous() *authmaterialv1.CredentialVersion {
	for _, version := range v.Versions {
		if version.GetVersion() < v.GetActiveVersion() && version.GetActivateTime() != nil &&
			version.GetState() == authmaterialv1.VersionState_VERSION_STATE_ENABLED && !isRefused(version) {
			return version
		}
	}
	return nil
}

// Refused returns the verification of a version if the provider refused it, or nil.
func (v credentialView) Refused(number int32) *authmaterialv1.Verification {
	for _, version := range v.Versions {
		if version.GetVersion() == number && isRefused(version) {
			return version.GetVerification()
		}
	}
	return nil
}

// EventFields returns the names of the fields that an event is about, as the forms show them. It leaves out
// those that the sentence about the event contains already.
func (v credentialView) EventFields(event *authmaterialv1.CredentialEvent) string {
	var names []string
	for _, name := range event.GetFields() {
		if id, isValue := strings.CutPrefix(name, "values."); isValue {
			names = append(names, v.FieldName(id))
		} else if shown, known := fieldNames[name]; !known {
			names = append(names, name)
		} else if shown != "" {
			names = append(names, shown)
		}
	}
	return strings.Join(names, ", ")
}

// fieldNames are the names of the fields in the forms, by the API's name. A field with an empty name is
// not shown.
var fieldNames = map[string]string{ //nolint:gosec // names of fields, and no secrets
	"display_name": "Name", "description": "Description", "labels": "Labels", "disabled": "Disabled", "keep_warm": "Keep warm",
	"secret_expire_time": "The secret expires on", "allowed_hosts": "Allowed hosts", "active_version": "", "canary": "",
}

func (c *Console) show(w http.ResponseWriter, r *http.Request) error {
	return c.showCredential(w, r, nil, nil)
}

// showCredential shows the page of a credential, with the problem or result of a form, if any.
func (c *Console) showCredential(w http.ResponseWriter, r *http.Request, wrong error, result *authmaterialv1.Verification) error {
	if wrong == nil {
		return c.showCredentialWith(w, r, nil, result)
	}
	shown := toProblem(wrong)
	shown.nameLines("callers", linesOf(r.PostFormValue("callers")))
	if shown.Changed {
		shown.Changed, shown.Text = false, "Nothing was saved. This page shows the changes: repeat yours if they are still needed."
	}
	return c.showCredentialWith(w, r, &shown, result)
}

func (c *Console) showCredentialWith(w http.ResponseWriter, r *http.Request, wrong *problem, result *authmaterialv1.Verification) error {
	view, err := c.read(r)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if view.Problem, view.Result = wrong, result; wrong != nil {
		status = wrong.Status
	}
	c.pages.show(w, r, status, "credential", page{Title: view.GetDisplayName(), Section: "credentials", Body: view})
	return nil
}

// read returns the content of the page of a credential, without the parts that the person may not read.
func (c *Console) read(r *http.Request) (view credentialView, err error) {
	ctx, id := r.Context(), r.PathValue("id")
	status, err := c.api.GetCredentialStatus(ctx, &authmaterialv1.GetCredentialStatusRequest{CredentialId: id})
	if err != nil {
		return view, err
	}
	view.Credential, view.Status = status.GetCredential(), status.GetStatus()
	if provider, method, err := c.methodOf(r, view.GetProvider(), view.GetAuthMethod()); err == nil {
		view.Provider, view.Method = provider, method
	}
	if view.Access, err = c.api.ExplainAccess(ctx, &authmaterialv1.ExplainAccessRequest{CredentialId: id}); err != nil {
		return view, err
	}
	if view.Managed() {
		err := c.readHistory(ctx, id, &view)
		if view.Unread = connect.CodeOf(err) == connect.CodeUnavailable; err != nil && !view.Unread {
			return view, err
		}
	}
	if view.May("manage") {
		view.Grants = c.grants(ctx, id, view.Status.GetCallers())
	}
	view.Commands, view.CommandsNote = commandsOf(c.options.Listen, id)
	view.Created = r.FormValue("done") == "created"
	view.States = statesOf([]tile{{Credential: view.Credential}})
	return view, nil
}

// readHistory reads the versions of a credential, and the latest entries of its history.
func (c *Console) readHistory(ctx context.Context, id string, view *credentialView) error {
	versions, err := c.api.ListCredentialVersions(ctx, &authmaterialv1.ListCredentialVersionsRequest{CredentialId: id})
	if err != nil {
		return err
	}
	view.Versions = versions.GetVersions()
	events, err := c.api.ListCredentialEvents(ctx, &authmaterialv1.ListCredentialEventsRequest{CredentialId: id, PageSize: recentEvents})
	view.Events = events.GetEvents()
	return err
}

// grants returns the grants that allow callers to use a credential, by caller.
func (c *Console) grants(ctx context.Context, id string, callers []*authmaterialv1.CallerUse) map[string]string {
	all := map[string]string{}
	for _, use := range callers[:min(len(callers), recentCallers)] {
		found, err := c.api.ExplainAccess(ctx, &authmaterialv1.ExplainAccessRequest{CredentialId: id, Caller: use.GetCaller()})
		at := slices.Index(found.GetAllowedActions(), "use")
		if err == nil && at >= 0 && at < len(found.GetGrants()) && found.GetGrants()[at] != "" {
			all[use.GetCaller()] = found.GetGrants()[at]
		}
	}
	return all
}

// accessView explains what one caller may do with a credential.
type accessView struct {
	ID, Caller string
	*authmaterialv1.ExplainAccessResponse
}

// showAccess shows which grant allows a caller to use a credential.
func (c *Console) showAccess(w http.ResponseWriter, r *http.Request) error {
	caller := strings.TrimSpace(r.FormValue("caller"))
	explained, err := c.api.ExplainAccess(r.Context(), &authmaterialv1.ExplainAccessRequest{CredentialId: r.PathValue("id"), Caller: caller})
	if err != nil {
		return err
	}
	view := accessView{r.PathValue("id"), caller, explained}
	if isPartial(r) {
		c.pages.showPart(w, "access", "explained", view)
		return nil
	}
	c.pages.show(w, r, http.StatusOK, "access", page{Title: "Access to " + r.PathValue("id"), Section: "credentials", Body: view})
	return nil
}
