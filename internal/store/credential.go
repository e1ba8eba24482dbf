package store

import "time"

// Credential is a managed credential without its versions. All times are in UTC, with a precision
// of microseconds; the zero time means "none".
type Credential struct {
	ID          string
	DisplayName string
	Description string
	Labels      map[string]string
	// Provider and AuthMethod never change after the credential was created.
	Provider         string
	AuthMethod       string
	Disabled         bool
	KeepWarm         bool
	SecretExpireTime time.Time
	// ActiveVersion is the number of a version that is not destroyed.
	ActiveVersion int
	// CanaryVersion is the number of another version that is not destroyed, or 0.
	CanaryVersion int
	// CanaryCallers are the patterns of the callers that get the canary.
	CanaryCallers []string
	// CreateTime and UpdateTime are set by the Store.
	CreateTime time.Time
	UpdateTime time.Time
	DeleteTime time.Time
	// Revision is the revision of the store at which the credential was last changed. The
	// verification and the re-encryption of a version do not count as changes.
	Revision int64
}

// Version is one set of values of a credential.
type Version struct {
	CredentialID string
	// Number identifies the version among the versions of its credential. Numbers begin with 1. The
	// store keeps the latest 100 destroyed versions of a credential.
	Number int
	// ID is a random string of 32 hexadecimal digits.
	ID string
	// AllowedHosts and PublicValues are authenticated together with the encrypted values.
	AllowedHosts []string
	// PublicValues are the values of fields that are not secret.
	PublicValues map[string]string
	// SecretFields are the IDs of the secret fields that have a value, in alphabetical order.
	SecretFields []string
	CreateTime   time.Time
	// ActivateTime is when the version last became the active version.
	ActivateTime time.Time
	DestroyTime  time.Time
	// Creator is the name of the caller that created the version.
	Creator string
	// Verification is the result of the latest verification, or nil.
	Verification *Verification
	// Sealed contains the encrypted values. DataKey is the encrypted key that decrypts the values.
	// Sealed and DataKey are nil if the version is destroyed, and in the results of Store.Credential.
	Sealed  []byte
	DataKey []byte
}

// Verification is the result of trying a version at its provider.
type Verification struct {
	Outcome     string
	Explanation string
	HTTPStatus  int
	Time        time.Time
}

// Event is an entry in the history of a credential. It contains no secret.
type Event struct {
	// Number is the revision of the store at which the event was written. The Store sets Number.
	Number       int64  `json:"-"`
	CredentialID string `json:"-"`
	// Time is when the event was written. The Store sets Time.
	Time      time.Time `json:"-"`
	Caller    string    `json:"caller,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	// Version is the number of the version that the event is about, or 0.
	Version int `json:"version,omitempty"`
	// Fields are the names of the fields that were changed.
	Fields []string `json:"fields,omitempty"`
	// Details are further facts about the event, such as the HTTP status, by name.
	Details map[string]string `json:"details,omitempty"`
}

// Row is a credential with the versions that callers get.
type Row struct {
	Credential Credential
	Active     *Version
	// Canary is nil if the credential has no canary.
	Canary *Version
}

// RequestKey identifies a request that a client may send again.
type RequestKey struct {
	Caller       string
	Method       string
	CredentialID string
	RequestID    string
}

// Request is a request that is stored together with the change that it caused.
type Request struct {
	RequestKey

	// Fingerprint is the result of Store.Fingerprint for the content of the request.
	Fingerprint []byte
}
