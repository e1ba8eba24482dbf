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

// managingTimeout is the default of --timeout of commands that manage credentials. It is longer
// than a verification at a slow provider.
const managingTimeout = 30 * time.Second

// managingHelp is the last paragraph of the help of each command that manages credentials.
const managingHelp = `The broker lets a caller manage credentials that has a grant for it. A broker without
authentication lets only the user of its own Unix socket manage: --address unix:///PATH.

` + connectionHelp

// manager is what the commands have in common that manage credentials at a running broker.
type manager struct {
	connection
	authmaterialv1.CredentialServiceClient
	authmaterialv1.ProviderServiceClient

	format   *choice
	input    io.Reader
	out      *screen                    // results
	messages *screen                    // questions and remarks for people
	prompter *prompter                  // nil without a terminal
	method   *authmaterialv1.AuthMethod // names the fields in errors; nil if it is not known
}

// managing completes a command that calls a broker: it adds the flags of the connection and of the
// output, the completion of the credential ID, and calls `run` when there is a connection.
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

// call opens a connection and runs a function, each of whose calls has its own timeout: a person
// may take long to answer a question.
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

// print prints a message in the format that the user has chosen, which for people is that of the
// function `table`.
func (m *manager) print(message proto.Message, table func() error) error {
	switch m.format.value {
	case "json":
		return printJSON(m.out, plainJSON(message))
	case "yaml":
		return printYAML(m.out, plainJSON(message))
	}
	return table()
}

// credential reads a credential, so that it can be changed.
func (m *manager) credential(ctx context.Context, id string) (*authmaterialv1.Credential, error) {
	response, err := m.GetCredential(ctx, &authmaterialv1.GetCredentialRequest{CredentialId: id})
	return response.GetCredential(), err
}

// useMethod reads the definition of an auth method, which names the fields from then on.
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
