package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
)

// The test matrix of the management services names these credentials. The grant of a caller covers
// key-of-board, which is declared, and every ID that begins with shown-.
const (
	shownThere   = "shown-there"
	shownDeleted = "shown-deleted"
	shownMissing = "shown-none"
	hiddenThere  = "hidden-there" // its provider is pendo
	hiddenOther  = "hidden-other" // its provider is pulsedive
	hiddenNone   = "hidden-none"
)

// results has the reason for which a call of a caller with a grant fails, or "" if it succeeds, for
// each kind of credential.
type results struct{ there, missing, declared, deleted string }

// `inventory` has the results of the methods that only read.
var inventory = results{missing: "CREDENTIAL_NOT_FOUND"}

// `changes` has the results of the methods whose requests contain an etag, for requests with a
// wrong etag.
var changes = results{"CREDENTIAL_CHANGED", "CREDENTIAL_NOT_FOUND", "CREDENTIAL_READ_ONLY", "CREDENTIAL_NOT_FOUND"}

// A managementMethod is a method of a management service that names a credential.
type managementMethod struct {
	action  access.Action
	request func(id string) proto.Message
	want    results
}

const wrongETag = "none"

// managementMethods are all methods of the management services that name a credential. Each map key
// begins with the name of a method.
var managementMethods = map[string]managementMethod{
	"CreateCredential": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.CreateCredentialRequest{
			CredentialId: id, ValidateOnly: true, Values: fieldValues(map[string]string{"api_key": "k"}),
			Credential: &authmaterialv1.Credential{DisplayName: "a", Provider: "pendo", AuthMethod: "api_key"},
		}
	}, results{"CREDENTIAL_EXISTS", "", "CREDENTIAL_EXISTS", "CREDENTIAL_EXISTS"}},
	"GetCredential": {access.View, func(id string) proto.Message {
		return &authmaterialv1.GetCredentialRequest{CredentialId: id}
	}, inventory},
	"UpdateCredential": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.UpdateCredentialRequest{
			Credential: &authmaterialv1.Credential{CredentialId: id}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}}, Etag: wrongETag,
		}
	}, changes},
	"DeleteCredential": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.DeleteCredentialRequest{CredentialId: id, Etag: wrongETag}
	}, changes},
	"UndeleteCredential": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.UndeleteCredentialRequest{CredentialId: id}
	}, results{"", "CREDENTIAL_NOT_FOUND", "CREDENTIAL_READ_ONLY", ""}},
	"CreateCredentialVersion": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.CreateCredentialVersionRequest{CredentialId: id, Etag: wrongETag}
	}, changes},
	"ListCredentialVersions": {access.View, func(id string) proto.Message {
		return &authmaterialv1.ListCredentialVersionsRequest{CredentialId: id}
	}, inventory},
	"ActivateCredentialVersion": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.ActivateCredentialVersionRequest{CredentialId: id, Version: 1, Etag: wrongETag}
	}, changes},
	"WithdrawCanary": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.WithdrawCanaryRequest{CredentialId: id, Etag: wrongETag}
	}, changes},
	"DestroyCredentialVersion": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.DestroyCredentialVersionRequest{CredentialId: id, Version: 1, Etag: wrongETag}
	}, changes},
	"VerifyCredential": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.VerifyCredentialRequest{CredentialId: id}
	}, results{"", "CREDENTIAL_NOT_FOUND", "", "CREDENTIAL_NOT_FOUND"}},
	"VerifyCredential of values": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.VerifyCredentialRequest{
			CredentialId: id, Provider: "pendo", AuthMethod: "api_key", Values: fieldValues(map[string]string{"api_key": "k"}),
		}
	}, results{}},
	"GetCredentialStatus": {access.View, func(id string) proto.Message {
		return &authmaterialv1.GetCredentialStatusRequest{CredentialId: id}
	}, inventory},
	"ListCredentialEvents": {access.View, func(id string) proto.Message {
		return &authmaterialv1.ListCredentialEventsRequest{CredentialId: id}
	}, inventory},
	"ExplainAccess": {access.View, func(id string) proto.Message {
		return &authmaterialv1.ExplainAccessRequest{CredentialId: id}
	}, results{}},
	"ExplainAccess of another caller": {access.Manage, func(id string) proto.Message {
		return &authmaterialv1.ExplainAccessRequest{CredentialId: id, Caller: "token:none"}
	}, results{}},
}

// managementCallers are the callers of the test matrix. The first four have a grant of the action
// after which they are named. The caller pendo may manage every credential of the provider pendo,
// and the caller none has no grant.
var managementCallers = []string{"use", "view", "manage", "operate", "pendo", "none"}

// servedMatrix starts the server of the test matrix.
func servedMatrix(t *testing.T) managing {
	t.Helper()
	grants := ""
	for _, action := range access.Actions() {
		grants += fmt.Sprintf("\n  - {callers: [%q], credentials: [key-of-board, shown-*], actions: [%s]}", "token:"+string(action), action)
	}
	m := serveGranting(t, append([]string{"admin"}, managementCallers...), grants+`
  - {callers: ["token:pendo"], providers: [pendo], actions: [manage]}
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage]}
limits: {denials_per_second: 1000000}
`, "  url: sqlite://"+filepath.Join(t.TempDir(), "broker.db")+"\n")
	for id, provider := range map[string]string{shownThere: "pendo", shownDeleted: "pendo", hiddenThere: "pendo", hiddenOther: "pulsedive"} {
		m.create("admin", id, provider, "key-of-"+id)
	}
	deleted := m.mustGet("admin", shownDeleted)
	if _, err := m.credentials.DeleteCredential(m.as("admin"), &authmaterialv1.DeleteCredentialRequest{CredentialId: shownDeleted, Etag: deleted.GetEtag()}); err != nil {
		t.Fatal(err)
	}
	return m
}

// create creates a credential with an API key.
func (m managing) create(caller, id, provider, key string) {
	m.Helper()
	_, err := m.credentials.CreateCredential(m.as(caller), &authmaterialv1.CreateCredentialRequest{
		CredentialId: id, Values: fieldValues(map[string]string{"api_key": key}),
		Credential: &authmaterialv1.Credential{DisplayName: id, Provider: provider, AuthMethod: "api_key"},
	})
	if err != nil {
		m.Fatalf("create %s: %v", id, err)
	}
}

func (m managing) mustGet(caller, id string) *authmaterialv1.Credential {
	m.Helper()
	found, err := m.credentials.GetCredential(m.as(caller), &authmaterialv1.GetCredentialRequest{CredentialId: id})
	if err != nil {
		m.Fatalf("get %s: %v", id, err)
	}
	return found.GetCredential()
}

// ask calls a method of a management service. Without a name, the caller is not authenticated.
func (m managing) ask(caller, name string, request proto.Message) outcome {
	m.Helper()
	var header, trailer metadata.MD
	_, err := m.invoke(caller, name, request, grpc.Header(&header), grpc.Trailer(&trailer))
	return outcomeOf(err, header, trailer)
}

// invoke calls a method of a management service, and returns its answer.
func (m managing) invoke(caller, name string, request proto.Message, options ...grpc.CallOption) (proto.Message, error) {
	m.Helper()
	ctx := m.Context()
	if caller != "" {
		ctx = m.as(caller)
	}
	method, _, _ := strings.Cut(name, " ")
	var described protoreflect.MethodDescriptor
	for _, service := range managementServices() {
		if found := service.Methods().ByName(protoreflect.Name(method)); found != nil {
			described = found
		}
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(described.Output().FullName())
	if err != nil {
		m.Fatal(err)
	}
	answer := kind.New().Interface()
	return answer, m.conn.Invoke(ctx, "/"+string(described.Parent().FullName())+"/"+method, request, answer, options...)
}

func managementServices() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{
		authmaterialv1.File_authmaterial_v1_credential_service_proto.Services().ByName("CredentialService"),
		authmaterialv1.File_authmaterial_v1_provider_service_proto.Services().ByName("ProviderService"),
	}
}

// grantedOn reports whether the grant of a caller of the test matrix covers a credential ID.
func grantedOn(caller, id string) bool {
	if caller == "pendo" {
		return id == shownThere || id == shownDeleted || id == hiddenThere || id == there
	}
	return id == there || strings.HasPrefix(id, "shown-")
}

// wantReason returns the expected reason of a method for a caller and a credential.
func (method managementMethod) wantReason(name, caller, id string) string {
	action := access.Action(caller)
	if caller == "pendo" {
		action = access.Manage
	}
	allowed := action == method.action || action == access.Manage && method.action == access.View
	creates := caller == "pendo" && name == "CreateCredential" // a grant by provider covers no ID
	if !allowed || creates || !grantedOn(caller, id) {
		return "ACCESS_DENIED"
	}
	return map[string]string{
		shownThere: method.want.there, shownMissing: method.want.missing, there: method.want.declared,
		shownDeleted: method.want.deleted, hiddenThere: method.want.there,
	}[id]
}

// TestManagementMatrix calls each management method as each caller. A denied caller gets the same
// bytes for every credential ID, whether or not a credential has that ID.
func TestManagementMatrix(t *testing.T) {
	m := servedMatrix(t)
	for name, method := range managementMethods {
		denial, unauthenticated := "", ""
		for _, id := range []string{shownThere, shownMissing, there, hiddenThere, hiddenOther, hiddenNone, shownDeleted} {
			for _, caller := range managementCallers {
				want := method.wantReason(name, caller, id)
				if name == "UndeleteCredential" && id == shownDeleted && want == "" {
					continue // the call would restore the credential, but the tests of other methods need a deleted credential
				}
				got := m.ask(caller, name, method.request(id))
				if got.reason != want {
					t.Errorf("a call of %s for %s as %s ends with %s, want the reason %q", name, id, caller, got, want)
				}
				if want != "ACCESS_DENIED" {
					continue
				}
				if denial == "" {
					denial = got.bytes
				}
				if got.bytes != denial {
					t.Errorf("the denial of %s for %s as %s differs from other denials: %s", name, id, caller, got)
				}
			}
			got := m.ask("", name, method.request(id))
			if unauthenticated == "" {
				unauthenticated = got.bytes
			}
			if got.reason != "CALLER_UNAUTHENTICATED" || got.bytes != unauthenticated {
				t.Errorf("an unauthenticated call of %s for %s ends with %s", name, id, got)
			}
		}
	}
}

// Every method that names a credential must be in managementMethods. Methods that name no
// credential need only an authenticated caller, except that GetFleetStatus needs the action
// operate.
func TestEveryManagementMethodIsTested(t *testing.T) {
	m := servedMatrix(t)
	alone := map[string]proto.Message{
		"ListCredentials": &authmaterialv1.ListCredentialsRequest{}, "ListProviders": &authmaterialv1.ListProvidersRequest{},
		"GetProvider": &authmaterialv1.GetProviderRequest{ProviderId: "pendo"},
	}
	operating := map[string]proto.Message{"GetFleetStatus": &authmaterialv1.GetFleetStatusRequest{}}
	for _, service := range managementServices() {
		for i := range service.Methods().Len() {
			name := string(service.Methods().Get(i).Name())
			_, inMatrix := managementMethods[name]
			request, isAlone := alone[name]
			operated, isOperated := operating[name]
			switch {
			case name == "WatchCredentialStates": // TestStateWatchesShowOnlyWhatMayBeViewed
			case isOperated:
				for _, caller := range managementCallers {
					want := map[bool]string{true: "", false: "ACCESS_DENIED"}[caller == "operate"]
					if got := m.ask(caller, name, operated); got.reason != want {
						t.Errorf("a call of %s as %s ends with %s, want the reason %q", name, caller, got, want)
					}
				}
			case !inMatrix && !isAlone:
				t.Errorf("no test checks access to the method %s", name)
			case isAlone:
				for _, caller := range managementCallers {
					if got := m.ask(caller, name, request); got.code != codes.OK {
						t.Errorf("a call of %s as %s ends with %s", name, caller, got)
					}
				}
				if got := m.ask("", name, request); got.reason != "CALLER_UNAUTHENTICATED" {
					t.Errorf("an unauthenticated call of %s ends with %s", name, got)
				}
			}
		}
	}
}
