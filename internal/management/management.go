// Package management lets authorised callers create, change, try and inspect credentials. It also
// keeps package broker informed about the managed credentials in the store.
//
// No result of this package contains a secret. The errors of this package are *fault.Error, the
// error of the context, or an internal failure.
package management

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

// Store is the interface of the credential store. Package store documents its methods.
type Store interface {
	Revision(ctx context.Context) (int64, error)
	Changes(ctx context.Context, after int64, yield func(*store.Row) error) (revision int64, err error)
	Listen(ctx context.Context, changed func())
	Credential(ctx context.Context, id string) (*store.Credential, []*store.Version, error)
	Version(ctx context.Context, credentialID string, number int) (*store.Version, error)
	Events(ctx context.Context, credentialID string, before int64, limit int) ([]*store.Event, error)
	Request(ctx context.Context, key store.RequestKey) (fingerprint []byte, found bool, err error)
	Apply(ctx context.Context, change store.Change) (revision int64, err error)
	Record(ctx context.Context, event *store.Event, verification *store.Verification) error
	Purge(ctx context.Context, deletedBefore time.Time) (ids []string, err error)
	Values(credential *store.Credential, version *store.Version) (map[string]secret.Text, error)
	Fingerprint(parts ...secret.Text) []byte
	RecordUses(ctx context.Context, uses []store.Use) error
	Uses(ctx context.Context, credentialID string) ([]*store.Use, error)
	LastUses(ctx context.Context, credentialIDs []string) (map[string]time.Time, error)
}

// Server serves the credentials. Package broker implements it, and documents its methods.
type Server interface {
	Manage(changed []*credentials.Credential, removed []string)
	State(id string) (state broker.State, since time.Time)
	Status(id string) (broker.Status, bool)
	States() map[broker.State]int
	Accepted(id string, version int, at time.Time)
	WatchStates() *broker.StateWatch
	TokenRequests() map[string]broker.Requests
	Uses(id string) (all, unsaved []broker.Use)
	SaveUses(save func([]broker.Use) error) error
	Usage(ctx context.Context, id string) broker.Usage
}

// Verifier tries credentials at their providers. Package verification implements it.
type Verifier interface {
	Verify(ctx context.Context, credential *credentials.Credential, current *token.Token) (verification.Result, error)
}

// Denials limits how many denials of each caller are recorded in the audit log.
type Denials interface {
	Allow(caller access.Caller) bool
}

// Options configure a Service. Open, Others, Verifier, Audit and Denials may be
// nil.
type Options struct {
	// Config is the configuration in use at the start. Required.
	Config *config.Config
	// Open opens the credential store. If Open is nil, there are no managed credentials.
	Open func(ctx context.Context) (Store, error)
	// Server serves the credentials. Required.
	Server Server
	// Replica returns what GetFleetStatus shows about this process. Required.
	Replica func() Replica
	// Others returns what the other replicas of the fleet last reported. Others may return this
	// replica too. If Others is nil, there are no other replicas.
	Others func(ctx context.Context) []Member
	// Verifier tries credentials. If Verifier is nil, credentials cannot be tried.
	Verifier Verifier
	// Audit is the log of changes, verifications and denials. If Audit is nil, nothing is recorded.
	Audit audit.Log
	// Denials limits the records about denials. If Denials is nil, all denials are recorded.
	Denials Denials
	// Clock is the clock of this machine. Required.
	Clock clockwork.Clock
	// Logger logs what operators must know about. Required.
	Logger *slog.Logger
}

// Service manages credentials, and is safe for concurrent use.
type Service struct {
	options Options
	started time.Time
	pageKey secret.Text // authenticates page tokens if there is no store
	tries   *verification.Limit

	opened   atomic.Pointer[Store]    // nil until the store is open
	reading  chan struct{}            // has an element while a call reads the store
	mu       sync.Mutex               // held while the snapshot is replaced and handed to the Server
	config   *config.Config           // the configuration from which the snapshot was made; guarded by mu
	shadowed map[string]bool          // IDs that are both declared and managed; guarded by mu
	snapshot atomic.Pointer[snapshot] // the latest state of the store that this replica has read
	failing  atomic.Bool              // whether the latest attempt to read the store failed
	synced   atomic.Int64             // when the snapshot was last found to be current, in Unix nanoseconds
	loaded   chan struct{}            // closed when the store has been read for the first time
}

// New returns a Service.
func New(options Options) *Service {
	s := &Service{
		options: options, started: options.Clock.Now(), pageKey: secret.New(rand.Text()), tries: verification.NewLimit(options.Clock),
		reading: make(chan struct{}, 1), config: options.Config, shadowed: map[string]bool{}, loaded: make(chan struct{}),
	}
	s.snapshot.Store(&snapshot{})
	return s
}

// Caller is an authenticated caller, with the configuration that authenticated it.
type Caller struct {
	access.Caller
	Config *config.Config
}

var (
	errDenied       = fault.New(fault.AccessDenied, "you have no grant for this credential ID")
	errMayNotCreate = fault.New(fault.AccessDenied, "you have no grant to create a credential with this ID")
	errNoOperator   = fault.New(fault.AccessDenied, "the fleet status needs a grant with the action operate")
	errLimit        = fault.New(fault.RateLimited,
		"too many calls of this caller were denied or had an invalid credential ID: wait").WithRetryDelay(time.Second)
	errNoStore  = fault.New(fault.CredentialReadOnly, "the broker has no credential store: add the section 'store' to its configuration")
	errDeclared = fault.New(fault.CredentialReadOnly, "the credential is declared in the configuration file: change it there")
	errMissing  = fault.New(fault.CredentialNotFound, "there is no credential with this ID")
	errChanged  = fault.New(fault.CredentialChanged, "the credential has changed: read it again, and repeat the change")
	errNotFound = fault.New(fault.VersionNotFound, "the credential has no version with this number, or the values of the version are erased")
	errInUse    = fault.New(fault.VersionNotFound, "the version is active or the canary: activate another version, or withdraw the canary, first")
	errExists   = fault.New(fault.CredentialExists, "the ID belongs to another credential; a deleted credential keeps its ID for 30 days")
	errAway     = fault.New(fault.StoreUnavailable, "the credential store cannot be reached").WithRetryDelay(time.Second)
	errReplaced = fault.New(fault.StoreUnavailable,
		"the credential store was deleted or replaced: the operator of the broker must restart the broker").WithRetryDelay(time.Minute)
	errUnread = fault.New(fault.StoreUnavailable, "the credential store has not been read yet").WithRetryDelay(time.Second)
	// errNotReadBack is the error of a call whose change is stored, but not served by this replica
	// yet.
	errNotReadBack = fault.New(fault.StoreUnavailable, "the change is stored, but could not be read back from the store: "+
		"do not repeat the change; this replica serves the change as soon as it can read the store").WithRetryDelay(time.Second)
)

// errNotRecorded is the error of a call whose audit record could not be written. A change that the
// call made stays in effect.
var errNotRecorded = fault.New(fault.Internal, "the audit record could not be written")

// call is one call in progress.
type call struct {
	caller    Caller
	operation audit.Operation
	action    access.Action
	id        string
	nameless  bool // the call creates a credential without a display name
	version   int
	fields    []string
	outcome   catalog.Outcome // the outcome of the verification of a new version
	grant     string
}

// `do` runs a call if its caller may perform its action on its credential ID. The access decision
// comes first, so that a denied caller cannot learn which credentials exist. The audit log records
// denied calls, changes and verifications.
func (s *Service) do(ctx context.Context, c *call, run func() error) error {
	err := s.authorize(c)
	denied := err != nil && !errors.Is(err, errUnread)
	if denied && s.options.Denials != nil && !s.options.Denials.Allow(c.caller.Caller) {
		return errLimit
	}
	if err == nil {
		err = toFault(run())
	}
	reads := c.action != access.Manage || c.operation == audit.ExplainAccess
	if s.options.Audit == nil || reads && !denied {
		return err
	}
	outcome := "OK"
	if err != nil && !errors.Is(err, errNotReadBack) {
		outcome = string(fault.From(err).Reason)
	}
	record := audit.Record{
		Caller: c.caller.Caller, Operation: c.operation, Action: c.action, CredentialID: c.id, Grant: c.grant,
		Outcome: outcome, StoredVersion: c.version, Fields: c.fields,
	}
	if s.options.Audit.Write(ctx, record) != nil {
		return errNotRecorded
	}
	return err
}

func (s *Service) authorize(c *call) error {
	switch {
	case c.id == "" && c.nameless:
		return invalid("credential.display_name", fmt.Sprintf("is required: it must have 1 to %d characters", maxName))
	case c.id == "" && c.operation == audit.CreateCredential:
		return invalid("credential_id", "is required, because no ID can be made from the display name, which has no letter from a to z and no digit")
	case c.action != access.Operate && !credentials.ValidID(c.id):
		return invalid("credential_id", "must have 1 to 128 lower-case letters, digits, dots, underscores and dashes, and begin and end with a letter or digit")
	}
	unread, object := s.unread(), s.object(c)
	decision := c.caller.Config.Policy.Decide(&c.caller.Caller, c.action, object)
	switch {
	case decision.Allowed:
	case unread && object.Provider == "" && c.operation != audit.CreateCredential && mayDependOnProvider(c):
		return errUnread
	case c.operation == audit.CreateCredential:
		return errMayNotCreate
	case c.action == access.Operate:
		return errNoOperator
	default:
		return errDenied
	}
	if decision.Grant != nil {
		c.grant = decision.Grant.Source
	}
	return nil
}

// mayDependOnProvider reports whether access depends on the provider of the credential: some grant
// allows the call if the credential has one of the providers of that grant.
func mayDependOnProvider(c *call) bool {
	policy := c.caller.Config.Policy
	return slices.ContainsFunc(policy.GrantsOf(c.action), func(grant access.Grant) bool {
		return slices.ContainsFunc(grant.Providers, func(provider string) bool {
			return policy.Decide(&c.caller.Caller, c.action, access.Object{CredentialID: c.id, Provider: provider}).Allowed
		})
	})
}

// object returns the credential ID and the provider with which the grants for a call are compared.
// To create a credential, a caller needs a grant that names the ID: a grant that names the provider
// is not enough.
func (s *Service) object(c *call) access.Object {
	object := access.Object{CredentialID: c.id}
	if c.operation != audit.CreateCredential && c.caller.Config.Policy.NamesProviders() {
		object.Provider = s.providerOf(c.caller.Config, c.id)
	}
	return object
}

// providerOf returns the provider of a credential, or "" if there is no such credential.
func (s *Service) providerOf(c *config.Config, id string) string {
	if declared := c.Credentials.Get(id); declared != nil {
		return declared.Provider.ID
	}
	if item := s.snapshot.Load().get(id); item != nil {
		return item.row.Credential.Provider
	}
	return ""
}

// toFault converts errors of the store to errors for callers.
func toFault(err error) error {
	for known, converted := range map[error]error{
		store.ErrUnavailable: errAway, store.ErrNotFound: errMissing, store.ErrExists: errExists, store.ErrChanged: errChanged,
		store.ErrVersionNotFound: errNotFound, store.ErrDestroyed: errNotFound, store.ErrReplaced: errReplaced,
	} {
		if errors.Is(err, known) {
			return converted
		}
	}
	return err
}

func invalid(field, description string) error {
	return violations{{Field: field, Description: description}}.err()
}

// maxViolations is the maximum number of problems in one error, because a request may have any
// number of problems.
const maxViolations = 20

// violations collects the first maxViolations problems of a request.
type violations []fault.Violation

func (v *violations) add(field, description string) {
	if len(*v) < maxViolations {
		*v = append(*v, fault.Violation{Field: field, Description: description})
	}
}

// err returns the error for the problems, or nil if there are none.
func (v violations) err() error {
	if len(v) == 0 {
		return nil
	}
	message := ""
	for _, violation := range v {
		message += "; " + violation.Field + " " + violation.Description
	}
	return &fault.Error{Reason: fault.InvalidRequest, Message: message[2:], Violations: v}
}
