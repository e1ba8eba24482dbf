package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	accepted     = authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED
	refused      = authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_REFUSED
	inconclusive = authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_INCONCLUSIVE
)

// verifyFlags are the flags for a verification before something is stored or activated.
type verifyFlags struct {
	verify, acceptInconclusive bool
	decided                    func() bool // reports whether a flag or an answer has set `verify`
}

func (f *verifyFlags) addFlags(command *cobra.Command) {
	f.decided = func() bool { return command.Flags().Changed("verify") }
	command.Flags().BoolVar(&f.verify, "verify", false, "verify the values at the provider first (at a terminal, the default is to ask)")
	command.Flags().BoolVar(&f.acceptInconclusive, "accept-inconclusive", false, "with --verify, go on if the provider's answer does not show whether it accepts the values")
}

func addReplaceFlag(command *cobra.Command, replace *bool, help string) {
	command.Flags().BoolVar(replace, "allow-token-replacement", false, help)
}

// wanted reports whether to verify the values. Without the flag --verify, it asks a person at a
// terminal, but only once.
func (f *verifyFlags) wanted(m *manager) (wanted bool, err error) {
	if !f.decided() && m.prompter != nil && m.method.GetVerifiable() {
		f.verify, err = m.prompter.confirm("Verify the values at the provider first?", true)
		f.decided = func() bool { return true }
	}
	return f.verify, err
}

// settle asks for missing values, and verifies the values, until the request can be sent. It returns
// the part of the final message that is about the verification.
func (f *createFlags) settle(
	ctx context.Context, m *manager, request *authmaterialv1.CreateCredentialRequest, values *fieldValues,
) (verified string, err error) {
	again := false
	for {
		if m.prompter != nil {
			given := values.values
			err := values.ask(m.prompter, func(field *authmaterialv1.Field) bool { return again || !contains(given, field.GetFieldId()) })
			if err != nil {
				return "", err
			}
		}
		request.Values, request.ValidateOnly = values.values, true
		checked, err := m.CreateCredential(ctx, request)
		if err != nil {
			if again, err = m.correct(request, err); err != nil {
				return "", err
			}
			continue
		}
		id := checked.GetCredential().GetCredentialId()
		if verified, again, err = f.tryValues(ctx, m, id, request); err != nil || !again {
			return verified, err
		}
	}
}

func contains(values []*authmaterialv1.FieldValue, id string) bool {
	return (&fieldValues{values: values}).get(id) != nil
}

// correct lets a person correct a request that failed. It prints the failure, and asks for another
// ID, or returns true if the values must be entered again. Without a terminal, and after any other
// failure, it returns the failure.
func (m *manager) correct(request *authmaterialv1.CreateCredentialRequest, failure error) (again bool, err error) {
	failed := readFailure(failure)
	about := func(part string) bool {
		return len(failed.violations) > 0 && !slices.ContainsFunc(failed.violations, func(v *errdetails.BadRequest_FieldViolation) bool {
			return !strings.HasPrefix(v.GetField(), part)
		})
	}
	switch {
	case m.prompter == nil:
		return false, failure
	case about("values."):
		fmt.Fprintln(m.prompter, m.invalid(failed))
		return true, nil
	case about("credential_id"):
		fmt.Fprintln(m.prompter, m.invalid(failed))
	case failed.reason == "CREDENTIAL_EXISTS":
		fmt.Fprintln(m.prompter, printable(failed.message))
	default:
		return false, failure
	}
	request.CredentialId, err = m.prompter.askRequired("Another ID")
	return false, err
}

// tryValues verifies values before they are stored. The result `again` is true if a person wants to
// enter the values again.
func (f *createFlags) tryValues(
	ctx context.Context, m *manager, id string, request *authmaterialv1.CreateCredentialRequest,
) (verified string, again bool, err error) {
	if !f.verify && m.method.GetReplacesRefreshToken() {
		return "", false, nil // the broker tries no refresh token that is not stored
	}
	wanted, err := f.wanted(m)
	if err != nil || !wanted {
		return "", false, err
	}
	response, err := m.VerifyCredential(ctx, &authmaterialv1.VerifyCredentialRequest{
		CredentialId: id, Provider: request.GetCredential().GetProvider(), AuthMethod: request.GetCredential().GetAuthMethod(),
		Values: request.GetValues(), AllowedHosts: request.GetAllowedHosts(), AllowTokenReplacement: f.replaceToken,
	})
	if err != nil && m.prompter != nil {
		fmt.Fprintln(m.prompter, m.explain(ctx, err))
		return f.storeNevertheless(m, false)
	}
	if err != nil {
		return "", false, err
	}
	result := response.GetVerification()
	switch kind := result.GetOutcome(); {
	case kind == accepted:
		return ", which the provider accepts", false, nil
	case kind == inconclusive && f.acceptInconclusive:
		return "; its verification was " + outcome(result), false, nil
	case m.prompter == nil:
		return "", false, errors.New(outcome(result) + "\n  Nothing was stored." + hintInconclusive(result))
	}
	fmt.Fprintln(m.prompter, printable(outcome(result)))
	if result.GetOutcome() == refused {
		if again, err = m.prompter.confirm("Enter the values again?", true); again || err != nil {
			return "", again, err
		}
	}
	return f.storeNevertheless(m, result.GetOutcome() == inconclusive)
}

// storeNevertheless asks whether to store values that the provider did not accept.
func (*createFlags) storeNevertheless(m *manager, otherwise bool) (verified string, again bool, err error) {
	save, err := m.prompter.confirm("Store them nevertheless?", otherwise)
	if err == nil && !save {
		err = errors.New("nothing was stored")
	}
	return "", false, err
}

func hintInconclusive(result *authmaterialv1.Verification) string {
	if result.GetOutcome() == inconclusive {
		return " To go on nevertheless, add --accept-inconclusive."
	}
	return ""
}

const verifyHelp = `Asks the provider whether it accepts the values of a credential, by one request that counts
towards the provider's rate limits. The default is the version that callers get.

Exit status: 0 if the provider accepts the values, 1 if it refuses them, or if its answer does
not show whether it accepts them.`

func newCredentialsVerify() *cobra.Command {
	var version int32
	var replace bool
	command := &cobra.Command{
		Use:   "verify ID",
		Short: "Asks the provider whether it accepts a credential",
		Long:  verifyHelp,
		Example: `  broker credentials verify mail
  broker credentials verify mail --version 3`,
	}
	command.Flags().Int32Var(&version, "version", 0, "the `NUMBER` of the version to verify (default: the active version)")
	addReplaceFlag(command, &replace, "verify even if the provider then ends the token that callers use")
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		response, err := m.VerifyCredential(ctx, &authmaterialv1.VerifyCredentialRequest{
			CredentialId: args[0], Version: version, AllowTokenReplacement: replace,
		})
		if err != nil {
			return err
		}
		result := response.GetVerification()
		err = m.print(result, func() error {
			_, err := fmt.Fprintln(m.out, printable(args[0]+": "+outcome(result)))
			return err
		})
		if err == nil && result.GetOutcome() != accepted {
			err = errVerification
		}
		return err
	})
}

// errVerification is the error of a verification that the provider did not accept; the result is
// printed already.
var errVerification = errors.New("the provider did not accept the values")
