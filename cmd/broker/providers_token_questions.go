package main

import (
	"errors"

	"github.com/authmaterial/broker/internal/draft"
)

func (i *interview) askToken() error {
	i.Method.ID, i.Method.DisplayName = "oauth2_client_credentials", "Client ID and secret"
	i.Method.Fields = []draft.Field{{ID: "client_id"}, {ID: "client_secret", Secret: true}}
	i.authorize("Bearer ${token}")
	request := &draft.TokenRequest{GrantType: "client_credentials"}
	i.Method.TokenRequest = request
	_, err := i.askValid("URL of the token request", "", func(text string) error {
		target, err := draft.ParseURL(text)
		if err != nil || text == "" {
			return errors.New("must be a URL such as https://api.example.com/oauth/token")
		}
		request.URL = target.String()
		return nil
	})
	if err != nil {
		return err
	}
	return i.askRequest(request)
}

// The possible forms of a token request. The first is the form that RFC 6749 recommends.
var (
	bodies          = []option{{"FORM", "Parameters as in an HTML form"}, {"JSON", "A JSON object"}}
	authentications = []option{{"BASIC", "HTTP Basic authentication"}, {"REQUEST_BODY", "Parameters in the body"}}
)

func (i *interview) askRequest(request *draft.TokenRequest) error {
	at, err := i.choose("Body of the token request", bodies)
	if err != nil {
		return err
	}
	request.Body = bodies[at].id
	if at, err = i.choose("Client ID and secret in", authentications); err != nil {
		return err
	}
	request.ClientAuthentication = authentications[at].id
	scope, err := i.ask("Scope (optional)", "")
	if scope != "" {
		request.Parameters = []draft.Parameter{{Name: "scope", Value: scope}}
	}
	return err
}
