package management

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/strategies"
)

// Unsaved are values that are tried without being stored.
type Unsaved struct {
	Provider     string
	AuthMethod   string
	Values       []FieldValue
	AllowedHosts []string
}

var (
	errNoVerifier   = fault.New(fault.VerificationUnsupported, "the broker cannot try credentials")
	errEndsPrevious = fault.New(fault.VerificationUnsupported,
		"a new token of this provider ends the token that callers use now: set allow_token_replacement to try the values nevertheless")
	errEndsUnlessActivated = fault.New(fault.VerificationUnsupported,
		"a new token of this provider ends the token that callers use now: set activate, and the version is verified and, if the provider accepts it, activated; "+
			"or create the version without verify, and then verify it with allow_token_replacement")
	errReplacesRefreshToken = fault.New(fault.VerificationUnsupported,
		"the provider replaces the refresh token when it is used, so values that are not stored cannot be tried: create the credential or the version, and then verify it")
	errUnusable = fault.New(fault.Internal, "the stored values of the version cannot be decrypted: the broker's log has the reason")
)

// unusable logs why the values of a version cannot be decrypted, and returns the error for the
// caller.
func (s *Service) unusable(c *call, v *store.Version, err error) error {
	s.options.Logger.Error("the stored values of a credential cannot be used", "credential_id", c.id, "version", v.Number, "problem", err)
	return errUnusable
}

// Verify tries the stored version with the given number at its provider, or the active version if
// the number is 0. If `unsaved` is not nil, Verify tries these values instead, and a credential
// with the ID need not exist. If a new token of the provider ends the previous token, `replace`
// must be true.
func (s *Service) Verify(
	ctx context.Context, caller Caller, id string, number int, unsaved *Unsaved, replace bool,
) (result *store.Verification, err error) {
	c := &call{caller: caller, operation: audit.VerifyCredential, action: access.Manage, id: id, version: number}
	err = s.do(ctx, c, func() error {
		tried, row, err := s.tried(ctx, c, unsaved)
		if err != nil {
			return err
		}
		if unsaved != nil && tried.Method.ReplacesRefreshToken() {
			return errReplacesRefreshToken
		}
		if tried.Method.EndsPrevious() && !replace {
			return errEndsPrevious
		}
		if result, err = s.try(ctx, c, tried); err != nil {
			return err
		}
		if unsaved == nil && result.Outcome == string(catalog.Accepted) {
			s.options.Server.Accepted(id, c.version, result.Time)
		}
		if row == nil {
			return nil
		}
		event := &store.Event{CredentialID: id, Caller: caller.Name, Operation: string(c.operation), Version: c.version, Outcome: result.Outcome}
		return s.store().Record(ctx, event, result)
	})
	return result, err
}

// `tried` returns the credential that a call is to try, and its row if the version is stored.
func (s *Service) tried(ctx context.Context, c *call, unsaved *Unsaved) (*credentials.Credential, *store.Credential, error) {
	if unsaved != nil {
		m := &material{public: map[string]string{}, secrets: map[string]secret.Text{}}
		var problems violations
		if c.version != 0 {
			problems.add("version", "must be 0 in a request that has values of its own")
		}
		if m.define(c.caller.Config, unsaved.Provider, unsaved.AuthMethod, &problems) {
			m.set(unsaved.Values, &problems)
			m.setHosts(c.caller.Config, unsaved.AllowedHosts, &problems)
			m.check(c.id, &problems)
		}
		if err := problems.err(); err != nil {
			return nil, nil, err
		}
		return m.credential(c.id), nil, nil
	}
	if declared := c.caller.Config.Credentials.Get(c.id); declared != nil {
		if c.version != 0 {
			return nil, nil, errNotFound
		}
		return declared, nil, nil
	}
	if s.options.Open == nil {
		return nil, nil, errMissing
	}
	row, _, err := s.store().Credential(ctx, c.id)
	if err != nil {
		return nil, nil, err
	}
	if !row.DeleteTime.IsZero() {
		return nil, nil, errMissing
	}
	if c.version == 0 {
		c.version = row.ActiveVersion
	}
	v, err := s.store().Version(ctx, c.id, c.version)
	if err != nil {
		return nil, nil, err
	}
	if !v.DestroyTime.IsZero() {
		return nil, nil, errNotFound
	}
	if _, _, err := definition(c.caller.Config.Catalog, row.Provider, row.AuthMethod); err != nil {
		return nil, nil, fault.New(fault.VerificationUnsupported, err.Error())
	}
	credential := s.version(row, v, c.caller.Config)
	if credential.Values, err = credential.Stored.Open(); err != nil {
		return nil, nil, s.unusable(c, v, err)
	}
	if problems := strategies.Check(credential); problems != nil {
		return nil, nil, fault.New(fault.VerificationUnsupported,
			"the version does not fit the definition of its provider, which has changed: "+problems[0].Error())
	}
	return credential, row, nil
}

// `try` sends one request with the material of a credential to its provider.
func (s *Service) try(ctx context.Context, c *call, credential *credentials.Credential) (*store.Verification, error) {
	if s.options.Verifier == nil {
		return nil, errNoVerifier
	}
	if err := s.tries.Take(c.caller.Name, c.id); err != nil {
		return nil, err
	}
	result, err := s.options.Verifier.Verify(ctx, credential, nil)
	if err != nil {
		return nil, err
	}
	return &store.Verification{
		Outcome: string(result.Outcome), Explanation: result.Explanation, HTTPStatus: result.HTTPStatus, Time: result.Time,
	}, nil
}
