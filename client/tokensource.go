package client

import (
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/oauth2"
)

// TokenSource returns an oauth2.TokenSource with the token of a credential, for libraries that
// accept no http.Client. The decorations of the credential must consist of exactly one header
// `Authorization: Bearer …`; otherwise, Token returns an error.
//
// The method Token returns the client's copy of the token, or waits for a call to the broker. Do
// not put the TokenSource into oauth2.ReuseTokenSource, which would keep a token that the broker
// has replaced.
//
// Prefer HTTPClient or Transport. An oauth2.Transport does not check the host: it sends the token
// to each host for which the program makes a request, and to each host to which a provider
// redirects the request. It does not report rejected tokens either, and does not repeat requests.
func (c *Client) TokenSource(credentialID string) oauth2.TokenSource {
	return tokenSource{c.credential(credentialID)}
}

type tokenSource struct{ credential *credential }

// Format implements fmt.Formatter, as Client.Format does.
func (s tokenSource) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "client.TokenSource")
}

// Token implements oauth2.TokenSource.
func (s tokenSource) Token() (*oauth2.Token, error) {
	now := s.credential.client.now()
	p, err := s.credential.get(context.Background(), now)
	if err != nil {
		return nil, err
	}
	token, found := p.bearerToken()
	if !found {
		return nil, fmt.Errorf("the material of credential %q is not exactly one header `Authorization: Bearer …`: use HTTPClient or Transport instead of TokenSource", s.credential.id)
	}
	s.credential.use(p, now)
	return &oauth2.Token{AccessToken: token, TokenType: "Bearer", Expiry: p.expires}, nil
}

func (p *prepared) bearerToken() (token string, found bool) {
	if len(p.headers) != 1 || p.query != "" || p.headers[0].name != "Authorization" {
		return "", false
	}
	scheme, token, found := strings.Cut(p.headers[0].values[0], " ")
	return token, found && token != "" && strings.EqualFold(scheme, "Bearer")
}
