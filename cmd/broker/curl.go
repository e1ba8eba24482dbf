package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const curlHelp = `Runs curl with the material of a credential. The arguments after -- are curl's.

The material is in no argument, so the list of processes does not show it. The host of
the URL must be one of the credential's allowed hosts; nothing is sent to another host.
To keep it so, curl calls one URL, follows no redirects, expands no [1-3] or {a,b} in
the URL, does not read ~/.curlrc, and gets no option that could send the material
elsewhere or print it. The accepted options are:

` + "%s" + `
A query parameter of the material replaces those of the same name in the URL. A header
of the material cannot be given as an argument too.

With --retry-rejected, if the provider rejects the material, the command reports the
rejection, and sends the request once more if the broker has new material. Up to 1 MiB of
the response is then printed only when it is complete.

` + connectionHelp + `

Exit status: that of curl; before curl starts, 1 if there is no material and 2 for wrong
usage. curl itself uses these two numbers too, for rare errors.`

const curlExamples = `  broker curl pendo -- https://app.pendo.io/api/v1/feature
  broker curl sendpulse-prod --retry-rejected -- -sS --json '{"a": 1}' https://api.sendpulse.com/addressbooks`

type curlFlags struct {
	connection
	retryRejected bool

	parsed *curlArguments
}

// exitStatus is the exit code of a program that ran instead of the command.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

func newCurl() *cobra.Command {
	f := new(curlFlags)
	command := &cobra.Command{
		Use:     "curl ID [flags] -- CURL-ARGUMENTS...",
		Short:   "Runs curl with the material of a credential",
		Long:    fmt.Sprintf(curlHelp, curlOptionList()),
		Example: curlExamples,
		PreRunE: f.check,
		RunE: explained(func(command *cobra.Command, args []string) error {
			return f.run(command, args[0])
		}),
		DisableFlagsInUseLine: true, // flags of the command come before --
	}
	f.addFlags(command, getTimeout)
	command.Flags().BoolVar(&f.retryRejected, "retry-rejected", false, "report a rejection, and repeat the request once with new material")
	command.ValidArgsFunction = func(command *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 || f.checkFlags(command.Flags()) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		m := &manager{connection: f.connection}
		return m.completing(func(ctx context.Context, _ *cobra.Command, _ []string) []cobra.Completion {
			return m.ids(ctx, false)
		})(command, given, begun)
	}
	return command
}

func curlOptionList() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(curlOptions)) {
		text := "--" + name
		if short := curlOptions[name].short; short != "" {
			text = "-" + short + "/" + text
		}
		names = append(names, text)
	}
	var text strings.Builder
	for _, line := range wrap(strings.Join(names, " "), textWidth) {
		text.WriteString("  " + line + "\n")
	}
	return text.String()
}

func (f *curlFlags) check(command *cobra.Command, args []string) (err error) {
	if len(args) == 0 || command.ArgsLenAtDash() == 0 {
		return errors.New("the ID of a credential is needed, as in: broker curl ID -- URL")
	}
	if f.parsed, err = parseCurl(args[1:]); err != nil {
		return err
	}
	if err := f.checkFlags(command.Flags()); err != nil {
		return err
	}
	switch {
	case f.tokenFile == "-":
		return errors.New("standard input belongs to curl: use --token-file FILE")
	case f.retryRejected && f.parsed.readsInput():
		return errors.New("--retry-rejected cannot send standard input twice: give curl a file")
	case f.retryRejected && f.parsed.sets("dump-header"):
		return errors.New("--retry-rejected and curl's --dump-header cannot be used together: use --include")
	}
	if err := checkURL(f.parsed.url); err != nil {
		return errors.New(strings.Replace(err.Error(), "--url", "the URL", 1))
	}
	return nil
}

func (f *curlFlags) run(command *cobra.Command, id string) error {
	curl, err := exec.LookPath("curl")
	if err != nil {
		return errors.New("curl is not on PATH: install it, or use 'broker get'")
	}
	decoration, err := f.get(command, id)
	if err != nil {
		return err
	}
	if !f.retryRejected {
		_, err := f.start(command, curl, decoration, command.OutOrStdout())
		return err
	}
	held := &heldOutput{out: command.OutOrStdout()}
	head, err := f.start(command, curl, decoration, held)
	response := &http.Response{StatusCode: int(head.status), Header: head.header, Body: io.NopCloser(bytes.NewReader(held.held.Bytes()))}
	if client.Rejected(response, decoration) && !held.passed {
		if replacement := f.report(command, id, decoration.GetVersion(), head.status); replacement != nil {
			_, err = f.start(command, curl, replacement, command.OutOrStdout())
			return err
		}
	}
	return errors.Join(held.pass(), err)
}

func (f *curlFlags) get(command *cobra.Command, id string) (decoration *authmaterialv1.AuthDecoration, err error) {
	err = f.connect(command, func(ctx context.Context, conn *grpc.ClientConn) error {
		response, err := authmaterialv1.NewBrokerServiceClient(conn).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		if err != nil {
			return f.explainFailure(ctx, id, err, whatToDo)
		}
		decoration = response.GetAuthDecoration()
		return nil
	})
	return decoration, err
}

// report returns the material with which to repeat the request, or nil if there is none. The
// response of the provider is then printed as usual, so an error only leads to a message.
func (f *curlFlags) report(command *cobra.Command, id, version string, status int32) (replacement *authmaterialv1.AuthDecoration) {
	err := f.connect(command, func(ctx context.Context, conn *grpc.ClientConn) error {
		response, err := authmaterialv1.NewBrokerServiceClient(conn).ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
			CredentialId: id, Version: version, HttpStatus: status,
		})
		if err != nil {
			return f.explainFailure(ctx, id, err, whatToDo)
		}
		outcome := response.GetOutcome()
		if outcome == authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED || outcome == authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED {
			replacement = response.GetAuthDecoration()
			return nil
		}
		name := strings.TrimPrefix(outcome.String(), "OUTCOME_")
		return fmt.Errorf("the provider rejected the material with HTTP status %d, and the broker has no other: %s", status, name)
	})
	if err != nil {
		fmt.Fprintln(command.ErrOrStderr(), "broker:", err)
	}
	return replacement
}

// start runs curl, and returns the status and the headers of the response if f.retryRejected is set.
// curl reads the URL and the material from the first extra file, and writes the response's headers to
// the second.
func (f *curlFlags) start(command *cobra.Command, curl string, decoration *authmaterialv1.AuthDecoration, out io.Writer) (responseHead, error) {
	config, err := f.config(decoration)
	if err != nil {
		return responseHead{}, err
	}
	configRead, configWrite, err := os.Pipe()
	if err != nil {
		return responseHead{}, err
	}
	headersRead, headersWrite, err := os.Pipe()
	if err != nil {
		return responseHead{}, err
	}
	child := exec.CommandContext(command.Context(), curl, slices.Concat([]string{"--disable", "--config", "/dev/fd/3"}, f.parsed.arguments())...) //nolint:gosec // parseCurl has checked the arguments
	child.Stdin, child.Stdout, child.Stderr = command.InOrStdin(), out, command.ErrOrStderr()
	child.ExtraFiles = []*os.File{configRead, headersWrite}
	err = child.Start()
	_, _ = configRead.Close(), headersWrite.Close()
	if err != nil {
		_, _ = configWrite.Close(), headersRead.Close()
		return responseHead{}, fmt.Errorf("curl cannot be started: %w", err)
	}
	go func() {
		_, _ = io.WriteString(configWrite, config) // if this fails, curl has ended, and its exit code says more
		_ = configWrite.Close()
	}()
	headers, _ := io.ReadAll(headersRead) // the other end is closed when curl ends
	_ = headersRead.Close()
	if err := child.Wait(); err != nil {
		if ended, ok := errors.AsType[*exec.ExitError](err); ok {
			return lastHead(headers), exitStatus(max(ended.ExitCode(), exitProblem))
		}
		return responseHead{}, err
	}
	return lastHead(headers), nil
}

// config returns a configuration file of curl that has the URL and the material.
func (f *curlFlags) config(decoration *authmaterialv1.AuthDecoration) (string, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, f.parsed.url, nil)
	if err != nil {
		return "", errors.New("the URL is not valid")
	}
	if err := client.Apply(request, decoration); err != nil {
		return "", adviseHost(err, request.URL, decoration.GetAllowedHosts())
	}
	lines, err := headerLines(decoration)
	if err != nil {
		return "", err
	}
	for i, header := range slices.Backward(decoration.GetHeaders()) {
		switch {
		case !f.parsed.setsHeader(header.GetName()):
		case header.GetOnlyIfAbsent():
			lines = slices.Delete(lines, i, i+1)
		default:
			return "", fmt.Errorf("the broker supplies the header %s: leave it out", header.GetName())
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "globoff\nno-location\nproto = \"=%s\"\nurl = %s\n", request.URL.Scheme, curlQuote(request.URL.String()))
	if request.URL.Scheme == "http" { // without TLS, a proxy could read the material
		text.WriteString("noproxy = \"*\"\n")
	}
	if f.retryRejected {
		text.WriteString("dump-header = \"/dev/fd/4\"\n")
	}
	for _, line := range lines {
		fmt.Fprintf(&text, "header = %s\n", curlQuote(line))
	}
	return text.String(), nil
}
