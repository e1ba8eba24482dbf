package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// managingTimeout is the default of --timeout of commands that manage credentials. The
// default is longer than a verification at a slow provider.
const managingTimeout = 30 * time.Second

// managingHelp is the last paragraph of the help of each command that manages credentials.
const managingHelp = `To manage credentials, a caller needs a grant in the broker's configuration. A broker without
authentication lets only the user of its own Unix socket manage: --address unix:///PATH.

` + connectionHelp

// manager contains what the commands that manage credentials at a running broker have in common.
type manager struct {
	connection
	authmaterialv1.CredentialServiceClient
	authmaterialv1.ProviderServiceClient

	format   *choice
	input    io.Reader
	out      *screen                    // results
	messages *screen                    // shows questions and remarks to people
	prompter *prompter                  // asks questions; nil without a terminal
	method   *authmaterialv1.AuthMethod // the auth method whose fields errors name; nil if not known
}

// managing adds to a command the flags for the connection and the output format, and the shell
// completion. The command calls `run` with a connection to a broker.
func managing(command *cobra.Command, run func(context.Context, *manager, []string) error) *cobra.Command {
	m := &manager{}
	m.addFlags(command, managingTimeout)
	m.format = addOutputFlag(command, "table", "json", "yaml")
	if command.Args == nil {
		command.Args = credentialArg
	}
	m.addCompletions(command)
	command.Long += "\n\n" + managingHelp
	command.PreRunE = func(command *cobra.Command, _ []string) error {
		if secret := command.Flags().Lookup("secret-stdin"); m.tokenFile == "-" && secret != nil && secret.Changed {
			return errors.New("--token-file - and --secret-stdin cannot both read standard input")
		}
		return m.checkFlags(command.Flags())
	}
	command.RunE = explained(func(command *cobra.Command, args []string) error {
		m.input = command.InOrStdin()
		m.out, m.messages = newScreen(command.OutOrStdout()), newScreen(command.ErrOrStderr())
		m.prompter = newPrompter(m.input, m.messages)
		return m.call(command.Context(), func(ctx context.Context) error { return run(ctx, m, args) })
	})
	return command
}

// credentialArg accepts the ID of one credential.
func credentialArg(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return misused("the ID of a credential is needed")
	}
	return misused("only one ID is allowed")
}

// call opens a connection and runs a function. The timeout applies to each call to the broker, and
// not to the function, because a person may take long to answer a question.
func (m *manager) call(ctx context.Context, run func(context.Context) error) error {
	ctx, conn, err := m.dial(ctx, m.input,
		grpc.WithUnaryInterceptor(m.limitTime),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // an error of Close does not matter, because the responses were already read
	m.CredentialServiceClient = authmaterialv1.NewCredentialServiceClient(conn)
	m.ProviderServiceClient = authmaterialv1.NewProviderServiceClient(conn)
	if err := run(ctx); err != nil {
		return m.explain(ctx, err)
	}
	return nil
}

func (m *manager) limitTime(
	ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout-m.diagnosisTime())
	defer cancel()
	return invoke(ctx, method, request, response, conn, options...)
}

// print prints a message as JSON or YAML, or calls the function `table`, as the flag for the output
// format says.
func (m *manager) print(message proto.Message, table func() error) error {
	switch m.format.value {
	case "json":
		return printJSON(m.out, plainJSON(message))
	case "yaml":
		return printYAML(m.out, plainJSON(message))
	}
	return table()
}

// credential gets a credential from the broker.
func (m *manager) credential(ctx context.Context, id string) (*authmaterialv1.Credential, error) {
	response, err := m.GetCredential(ctx, &authmaterialv1.GetCredentialRequest{CredentialId: id})
	return response.GetCredential(), err
}

// useMethod gets an auth method from the broker, and sets m.method.
func (m *manager) useMethod(ctx context.Context, provider, method string) (*authmaterialv1.Provider, error) {
	response, err := m.GetProvider(ctx, &authmaterialv1.GetProviderRequest{ProviderId: provider})
	if err != nil {
		return nil, err
	}
	for _, known := range response.GetProvider().GetAuthMethods() {
		if known.GetAuthMethodId() == method {
			m.method = known
			return response.GetProvider(), nil
		}
	}
	return nil, misused("%s has no auth method %q; it has: %s", response.GetProvider().GetDisplayName(), method,
		methodIDs(response.GetProvider()))
}
