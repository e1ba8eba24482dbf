package catalog

import (
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// A token request with a ClientAuthentication other than ClientUnauthenticated contains the values of
// these two fields.
const (
	ClientIDField     = "client_id"
	ClientSecretField = "client_secret"
)

// RefreshTokenField is the field with the first refresh token, if the provider issues a new refresh
// token with each token.
const RefreshTokenField = "refresh_token"

// ClientAuthentication is the part of a token request that contains the client's ID and secret.
type ClientAuthentication string

// RFC 6749, section 2.3.1, defines ClientInRequestBody and ClientInBasic, which encodes the ID and the
// secret as in forms. Some providers expect the ID and the secret as they are: ClientInBasicUnencoded.
const (
	ClientInRequestBody    ClientAuthentication = "REQUEST_BODY"
	ClientInBasic          ClientAuthentication = "BASIC"
	ClientInBasicUnencoded ClientAuthentication = "BASIC_UNENCODED"
	ClientUnauthenticated  ClientAuthentication = "NONE"
)

const defaultGrantType = "client_credentials" // RFC 6749, section 4.4

// TokenRequest defines how an auth method obtains a token.
type TokenRequest struct {
	Request

	ClientAuthentication ClientAuthentication `json:"client_authentication"`
	// GrantType is the parameter grant_type; the request has no such parameter if GrantType is empty.
	GrantType string `json:"grant_type"`
	// JWT is signed for each request, and is the variable JWTVariable in the request. It may be nil.
	JWT *JWT `json:"jwt,omitempty"`
	// First are requests to send before, in this order.
	First    []FirstRequest `json:"first,omitempty"`
	Response Response       `json:"response"`
	// DefaultLifetime is the lifetime of a token if the answer has no usable lifetime.
	// DefaultLifetime is between 1 s and 7 days.
	DefaultLifetime time.Duration `json:"-"`
	// AllowPrivateAddresses lets the hosts of the URLs have addresses outside the public internet.
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
	// EndsPrevious is true if the provider revokes the previous token when it issues a new one.
	EndsPrevious bool `json:"-"`
}

// FirstRequest is a request that precedes a token request. Later requests can use its values as the
// variables `ID.name`.
type FirstRequest struct {
	ID string `json:"id"`
	Request

	Values Values `json:"values"`
}

// Response defines how to read the answer to a token request.
type Response struct {
	// Token is the location of the token.
	Token Location `json:"token"`
	// Lifetime is the location of the lifetime, and LifetimeUnit the duration of 1.
	Lifetime     *Location     `json:"lifetime,omitempty"`
	LifetimeUnit time.Duration `json:"-"`
	// ExpiresAt is the location of the time at which the token expires, in place of Lifetime.
	ExpiresAt *Location `json:"-"`
	// TokenExpires is true if the token is a JWT that contains the time at which it expires.
	TokenExpires bool `json:"-"`
	// RefreshToken is the location of the next refresh token, or nil.
	RefreshToken *Location `json:"refresh_token,omitempty"`
	// Values are more values that the material uses, as the variables `response.name`.
	Values Values `json:"values,omitempty"`
	// Refused are the answers with which the provider refuses the credential, in addition to the
	// errors of OAuth 2.0.
	Refused []Condition `json:"refused,omitempty"`
}

// MarshalJSON returns the definition of the token request, in which the character & is not escaped.
func (r *TokenRequest) MarshalJSON() ([]byte, error) {
	type sameForm TokenRequest
	definition := struct {
		*sameForm
		DefaultLifetime string `json:"default_lifetime"`
		PreviousToken   string `json:"previous_token"`
	}{(*sameForm)(r), r.DefaultLifetime.String(), "KEPT"}
	if r.EndsPrevious {
		definition.PreviousToken = "ENDED"
	}
	return marshal(definition)
}

var lifetimeUnits = map[string]time.Duration{"MILLISECONDS": time.Millisecond, "SECONDS": time.Second, "MINUTES": time.Minute}

// MarshalJSON returns the definition of the response.
func (r Response) MarshalJSON() ([]byte, error) {
	type sameForm Response
	definition := struct {
		sameForm
		LifetimeUnit string `json:"lifetime_unit,omitempty"`
		ExpiresAt    any    `json:"expires_at,omitempty"`
	}{sameForm: sameForm(r)}
	for name, unit := range lifetimeUnits {
		if r.Lifetime != nil && unit == r.LifetimeUnit {
			definition.LifetimeUnit = name
		}
	}
	switch {
	case r.TokenExpires:
		definition.ExpiresAt = tokenItself
	case r.ExpiresAt != nil:
		definition.ExpiresAt = r.ExpiresAt
	}
	return marshal(definition)
}

func defineTokenRequest(item, fields yamlfile.Value, scope *scope, anyHost bool) (request *TokenRequest, variables []string) {
	item.Mapping(append([]string{"client_authentication", "grant_type", "jwt", "first", "response", "default_lifetime", "allow_private_addresses", "previous_token"}, requestKeys...)...).
		Requires("url", "body", "client_authentication")
	request = &TokenRequest{
		ClientAuthentication: ClientAuthentication(item.Get("client_authentication").OneOf(
			string(ClientInRequestBody), string(ClientInBasic), string(ClientInBasicUnencoded), string(ClientUnauthenticated))),
		GrantType:             readGrantType(item.Get("grant_type")),
		DefaultLifetime:       item.Get("default_lifetime").Duration(time.Second, token.MaxLifetime, time.Hour, "from 1s to 168h, such as 3600s or 15m"),
		AllowPrivateAddresses: item.Get("allow_private_addresses").Bool(false),
		EndsPrevious:          item.Get("previous_token").OneOf("KEPT", "ENDED") == "ENDED",
	}
	request.checkClientFields(fields, scope)
	inner := scope.with()
	request.First = defineFirst(item.Get("first"), inner, anyHost)
	if jwt := item.Get("jwt"); jwt.Exists() {
		request.JWT = defineJWT(jwt, inner)
		inner = inner.with(JWTVariable)
	}
	request.Request = defineRequest(item, inner, anyHost, request.reserved())
	if request.Body == BodyNone && !item.Get("grant_type").Exists() {
		request.GrantType = "" // the default cannot be sent
	}
	request.checkUnsent(item)
	if request.JWT != nil && !inner.broken && !inner.uses(JWTVariable) {
		item.Get("jwt").Key().Problemf("the JWT is never used: use ${%s} in a parameter or a header of the token request", JWTVariable)
	}
	request.Response, variables = defineResponse(item.Get("response"))
	if request.Response.RefreshToken != nil {
		checkRefreshField(item.Get("response").Get("refresh_token"), inner)
	}
	scope.join(inner)
	return request, variables
}

func readGrantType(value yamlfile.Value) string {
	switch {
	case !value.Exists():
		return defaultGrantType
	case value.FreeText(0, maxLine) == "":
		return ""
	default:
		return value.Text(maxLine)
	}
}

// checkClientFields reports the fields that the client authentication lacks.
func (r *TokenRequest) checkClientFields(fields yamlfile.Value, scope *scope) {
	if r.ClientAuthentication == "" { // a problem was reported; the fields are probably meant for it
		scope.use(ClientIDField, ClientSecretField)
		return
	}
	if r.ClientAuthentication == ClientUnauthenticated {
		return
	}
	for _, id := range []string{ClientIDField, ClientSecretField} {
		if field := scope.field(id); field == nil || !field.Required {
			fields.Problemf("a method whose token_request has the client_authentication %s needs a required field %q", r.ClientAuthentication, id)
		}
		scope.use(id)
	}
}

// checkUnsent reports parts of the definition that the request would not contain.
func (r *TokenRequest) checkUnsent(item yamlfile.Value) {
	if r.Body == BodyNone && r.ClientAuthentication == ClientInRequestBody {
		item.Get("client_authentication").Problemf("a request with the body NONE cannot contain the client's ID and secret: use JSON, FORM, QUERY or BASIC")
	}
	if r.Body == BodyNone && r.GrantType != "" {
		item.Get("grant_type").Problemf("a request with the body NONE has no parameters: remove the key, or use JSON, FORM or QUERY")
	}
	isBasic := r.ClientAuthentication == ClientInBasic || r.ClientAuthentication == ClientInBasicUnencoded
	for i, header := range item.Get("headers").List(1, 50) {
		if isBasic && strings.EqualFold(r.Headers[i].Name, "Authorization") {
			header.Get("name").Problemf("client_authentication %s sets this header: remove the header, or use NONE", r.ClientAuthentication)
		}
	}
}

// reserved returns the names of the parameters that only the broker itself may set.
func (r *TokenRequest) reserved() (names []string) {
	if r.GrantType != "" {
		names = append(names, "grant_type")
	}
	if r.ClientAuthentication == ClientInRequestBody {
		names = append(names, ClientIDField, ClientSecretField)
	}
	return names
}

func checkRefreshField(value yamlfile.Value, scope *scope) {
	if field := scope.field(RefreshTokenField); field == nil || !field.Required || !field.Secret || !scope.uses(RefreshTokenField) {
		value.Problemf("needs a required secret field %q, which the token request uses", RefreshTokenField)
	}
}

// defineFirst adds the values of the requests to the variables of the scope.
func defineFirst(list yamlfile.Value, scope *scope, anyHost bool) (requests []FirstRequest) {
	ids := yamlfile.Unique{}
	for _, item := range list.List(1, 5) {
		item.Mapping(append([]string{"id", "values"}, requestKeys...)...).Requires("id", "url", "body", "values")
		first := FirstRequest{ID: item.Get("id").Match(identifierPattern, identifierForm)}
		switch {
		case first.ID == responsePrefix || scope.field(first.ID) != nil:
			item.Get("id").Problemf("use another name: this name is already taken")
		case first.ID != "" && !expression.ValidName(first.ID):
			item.Get("id").Problemf(reservedWord)
		}
		ids.Check(item.Get("id"), first.ID, "ID")
		first.Request = defineRequest(item, scope, anyHost, nil)
		var variables []string
		values := item.Get("values")
		first.Values, variables = readValues(values, first.ID)
		if entries, isMapping := values.Entries(); isMapping && len(entries) == 0 {
			values.Problemf("must have at least one key: the answer has succeeded if it has these values")
		}
		scope.extend(variables)
		requests = append(requests, first)
	}
	return requests
}

const (
	responsePrefix = "response"
	// tokenItself is the word for the time in the token itself, in place of a location.
	tokenItself = "TOKEN"
)

func defineResponse(item yamlfile.Value) (response Response, variables []string) {
	item.Mapping("token", "lifetime", "lifetime_unit", "expires_at", "refresh_token", "values", "refused")
	item.Excludes("expires_at", "lifetime")
	item.Excludes("lifetime_unit", "expires_at")
	response = Response{
		Token:        Location{Path: []string{"access_token"}},
		Lifetime:     readLocation(item.Get("lifetime")),
		LifetimeUnit: time.Second,
		RefreshToken: readLocation(item.Get("refresh_token")),
	}
	if location := readLocation(item.Get("token")); location != nil {
		response.Token = *location
	}
	if unit, ok := lifetimeUnits[item.Get("lifetime_unit").OneOf("SECONDS", "MILLISECONDS", "MINUTES")]; ok {
		response.LifetimeUnit = unit
	}
	expires := item.Get("expires_at")
	response.TokenExpires = expires.IsString() && expires.Text(yamlfile.MaxText) == tokenItself
	switch {
	case expires.Exists() && !response.TokenExpires:
		response.ExpiresAt = readLocation(expires)
	case !expires.Exists() && response.Lifetime == nil:
		response.Lifetime = &Location{Path: []string{"expires_in"}}
	}
	response.Values, variables = readValues(item.Get("values"), responsePrefix)
	response.Refused = readConditions(item.Get("refused"))
	return response, variables
}

func readConditions(list yamlfile.Value) (conditions []Condition) {
	for _, item := range list.List(1, 20) {
		item.Mapping(conditionKeys...)
		conditions = append(conditions, defineCondition(item))
	}
	return conditions
}
