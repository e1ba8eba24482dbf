// Package draft writes the first version of a provider's definition, from a curl command or from the
// answers of a person. A person completes it.
package draft

// Definition is the draft of a provider's definition, with one auth method. Notes become comments,
// which say what was assumed.
type Definition struct {
	ID, DisplayName  string
	Hosts            []string
	Method           Method
	Notes, HostNotes []string

	values map[string]string // the values of fields that the command contains
}

// Method is the auth method of a Definition.
type Method struct {
	ID, DisplayName      string
	Fields               []Field
	TokenRequest         *TokenRequest
	Headers, QueryParams []Placement
	Notes                []string // above the headers and query parameters
	VerificationURL      string   // empty if there is no verification
	VerificationNotes    []string
}

// Field is a field of a Method. Every field is required.
type Field struct {
	ID     string
	Secret bool
	Notes  []string
}

// Placement is a header or a query parameter. Its value is a text with expressions.
type Placement struct {
	Name, Value  string
	OnlyIfAbsent bool
}

// TokenRequest is the token request of a Method.
type TokenRequest struct {
	Method               string // empty for POST
	URL, Body            string
	ClientAuthentication string
	GrantType            string
	Parameters           []Parameter
	Headers              []Placement
	JWT                  *JWT
	Notes                []string
}

// Parameter is a parameter of a token request, or a claim. Its value is one of package encoding/json,
// in which texts may have expressions.
type Parameter struct {
	Name  string
	Value any
}

// JWT is a JSON Web Token that the broker signs with the field private_key.
type JWT struct {
	Algorithm string
	Header    []Parameter
	Claims    []Parameter
}

// Values returns the values of the fields that the curl command contains. They are no part of the
// YAML.
func (d *Definition) Values() map[string]string { return d.values }
