package strategies

import (
	"encoding/json"
	"errors"

	"github.com/authmaterial/broker/internal/catalog"
)

// The Value of a token.Token is the token itself or, if the auth method uses more values of the answer,
// a JSON object with the token and these values. Only this package reads it.
type issued struct {
	Token  string            `json:"token"`
	Values map[string]string `json:"values"`
}

var errNotIssued = errors.New("the token does not have the values of its auth method")

func pack(method *catalog.AuthMethod, token string, values map[string]string) (string, error) {
	if !hasValues(method) {
		return token, nil
	}
	text, err := json.Marshal(issued{token, values})
	return string(text), err
}

// unpack returns the variables that stand for a token and its values.
func unpack(method *catalog.AuthMethod, text string) (map[string]string, error) {
	if method.JWT != nil {
		return map[string]string{catalog.JWTVariable: text}, nil
	}
	if !hasValues(method) {
		return map[string]string{catalog.TokenVariable: text}, nil
	}
	var packed issued
	if err := json.Unmarshal([]byte(text), &packed); err != nil {
		return nil, errNotIssued
	}
	variables := map[string]string{catalog.TokenVariable: packed.Token}
	for name := range method.TokenRequest.Response.Values {
		variables["response."+name] = packed.Values[name]
	}
	return variables, nil
}

// issuedVariables returns the names of the variables that unpack returns.
func issuedVariables(method *catalog.AuthMethod) []string {
	if method.JWT != nil {
		return []string{catalog.JWTVariable}
	}
	names := []string{catalog.TokenVariable}
	for name := range method.TokenRequest.Response.Values {
		names = append(names, "response."+name)
	}
	return names
}

func hasValues(method *catalog.AuthMethod) bool {
	return method.TokenRequest != nil && len(method.TokenRequest.Response.Values) > 0
}
