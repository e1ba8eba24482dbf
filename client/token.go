package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// maxToken is how long a token is at most, in bytes. The broker accepts no longer one.
const maxToken = 8 << 10

// maxRead is the largest file with a token, in bytes. It is more than a token with white space around it.
const maxRead = 64 << 10

// TokenFile is for grpc.WithPerRPCCredentials: it sends the token in a file with each call,
// as `authorization: Bearer TOKEN`. The file is read for each call, so that a token which
// Kubernetes or another program renews counts at once. White space at either end is dropped.
// A call whose token cannot be read fails with UNAUTHENTICATED. The path has to lead to a
// regular file of at most 64 KiB.
//
// It asks for a connection that nobody reads along: one with TLS, or over a Unix socket with
// the credentials of google.golang.org/grpc/credentials/local.
func TokenFile(path string) credentials.PerRPCCredentials {
	return Token(func() (string, error) {
		text, err := readFile(path, maxRead)
		if err != nil {
			return "", err
		}
		if err := checkToken(strings.TrimSpace(string(text))); err != nil {
			return "", fmt.Errorf("%s %w", path, err)
		}
		return string(text), nil
	})
}

// Token is TokenFile for a token that is elsewhere. The function is called for each call, by
// several at once. Its error must not hold the token.
func Token(read func() (string, error)) credentials.PerRPCCredentials { return token(read) }

type token func() (string, error)

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	text, err := t()
	text = strings.TrimSpace(text)
	if err == nil {
		err = checkToken(text)
	}
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "the token for the broker: %v", err)
	}
	return map[string]string{"authorization": "Bearer " + text}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (token) RequireTransportSecurity() bool { return true }

// checkToken says why a text can be no bearer token (RFC 6750). The error does not hold it.
func checkToken(text string) error {
	switch {
	case text == "":
		return errors.New("is empty")
	case len(text) > maxToken:
		return fmt.Errorf("is longer than %d bytes: that is no token", maxToken)
	case strings.ContainsFunc(text, notOfToken):
		return errors.New("holds something else than one token alone")
	}
	return nil
}

// notOfToken reports whether a bearer token cannot hold a character.
func notOfToken(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("-._~+/=", r)
}
