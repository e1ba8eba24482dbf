package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// getTimeout is the default of --timeout. The broker's token requests have the same timeout.
const getTimeout = 10 * time.Second

const getHelp = `Asks a running broker for the material of credentials, as a service would.

The table masks values, unless --show-secrets is set. The other forms contain them, as
they are of no use without:

  json  For one ID the JSON of GetAuthDecorationResponse, for several that of
        BatchGetAuthDecorationsResponse, with --report-rejection that of
        ReportRejectionResponse. The field names are those of the proto's JSON;
        empty lists are present.
  curl  A command for a POSIX shell that calls --url with the material. It keeps the
        material out of the list of processes. The host of the URL must be one of the
        credential's allowed hosts.
  header  Lines of the form "Name: value", for curl -H @-. Send them to allowed hosts only.
  env   Lines for a POSIX shell: AUTH_HEADER_<NAME>=value and AUTH_QUERY_<NAME>=value.
        Values with spaces or special characters are in single quotes.
  netrc Lines of a netrc file, for material that is a user name and password.

` + connectionHelp + `

Shells complete the IDs that the caller may view at the broker or, if ` + configVariable + `
names a configuration file, the IDs in that file.

Exit status: 0 with the material of every ID, 1 if any ID has none, 2 for wrong usage.`

const getExamples = `  broker get sendpulse-prod
  broker get sendpulse-prod pulsedive -o json
  broker get pendo --address broker.example:50051 --tls-ca ca.pem --token-file token
  broker get pulsedive -o curl --url 'https://pulsedive.com/api/info.php?indicator=x.com' | sh
  broker get sendpulse-prod --report-rejection VERSION --http-status 401`

type getFlags struct {
	connection
	format      *choice
	showSecrets bool
	url         string
	version     string // version of the rejected material
	httpStatus  int32
}

func newGet() *cobra.Command {
	f := new(getFlags)
	command := &cobra.Command{
		Use:     "get ID...",
		Short:   "Asks a running broker for the material of credentials",
		Long:    getHelp,
		Example: getExamples,
		ValidArgsFunction: func(command *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
			if os.Getenv(configVariable) != "" {
				return completeCredentials("", given, begun), cobra.ShellCompDirectiveNoFileComp
			}
			if f.checkFlags(command.Flags()) != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			m := &manager{connection: f.connection}
			return m.completing(func(ctx context.Context, _ *cobra.Command, given []string) []cobra.Completion {
				return slices.DeleteFunc(m.ids(ctx, false), func(word cobra.Completion) bool {
					id, _, _ := strings.Cut(word, "\t")
					return slices.Contains(given, id)
				})
			})(command, given, begun)
		},
		Args: func(_ *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return errors.New("the ID of a credential is needed")
			}
			return nil
		},
		PreRunE: f.check,
		RunE: explained(func(command *cobra.Command, ids []string) error {
			return f.connect(command, func(ctx context.Context, conn *grpc.ClientConn) error {
				return f.get(ctx, conn, ids, command.OutOrStdout())
			})
		}),
	}
	f.addFlags(command, getTimeout)
	f.format = addOutputFlag(command, "table", "json", "curl", "header", "env", "netrc")
	flags := command.Flags()
	flags.BoolVar(&f.showSecrets, "show-secrets", false, "show values in the table")
	flags.StringVar(&f.url, "url", "", "the `URL` to call, for -o curl")
	flags.StringVar(&f.version, "report-rejection", "", "report a rejection of this `VERSION`, and get its replacement")
	flags.Int32Var(&f.httpStatus, "http-status", 0, "the HTTP `STATUS` with which the provider rejected the version")
	command.MarkFlagsRequiredTogether("report-rejection", "http-status")
	return command
}

func (f *getFlags) check(command *cobra.Command, ids []string) error {
	if err := f.checkFlags(command.Flags()); err != nil {
		return err
	}
	reports := command.Flags().Changed("report-rejection")
	one := slices.Contains([]string{"curl", "header", "env", "netrc"}, f.format.value)
	switch curl := f.format.value == "curl"; {
	case curl != (f.url != ""):
		return errors.New("-o curl and --url URL must be used together")
	case one && len(ids) > 1:
		return fmt.Errorf("-o %s takes one ID", f.format.value)
	case reports && len(ids) > 1:
		return errors.New("--report-rejection takes one ID")
	case reports && f.version == "":
		return errors.New("--report-rejection needs the version that was rejected")
	case curl:
		return checkURL(f.url)
	}
	return nil
}

// answer is the broker's response and the parts of it that are printed.
type answer struct {
	response proto.Message
	results  []*authmaterialv1.AuthDecorationResult // the results, one for each credential ID
	outcome  string                                 // the outcome of a report that material was rejected; empty for other calls
}

// get prints the material of credentials, and returns an error that explains, for each ID without
// material, why the broker returned none.
func (f *getFlags) get(ctx context.Context, conn *grpc.ClientConn, ids []string, out io.Writer) error {
	made, err := f.ask(ctx, authmaterialv1.NewBrokerServiceClient(conn), ids)
	if err != nil {
		return f.explainFailure(ctx, onlyID(ids), err, whatToDo)
	}
	var failed []error
	for _, result := range made.results {
		if result.GetAuthDecoration() == nil {
			refused := result.GetError()
			reason := strings.TrimPrefix(refused.GetReason().String(), "ERROR_REASON_")
			delay := refused.GetRetryDelay().AsDuration()
			failed = append(failed, refusal(result.GetCredentialId(), reason, refused.GetMessage(), delay, whatToDo[reason]))
		}
	}
	switch f.format.value {
	case "json":
		err = printMessage(out, made.response)
	case "curl":
		err = printCurl(out, made.results[0].GetAuthDecoration(), f.url)
	case "header":
		err = printHeaders(out, made.results[0].GetAuthDecoration())
	case "env":
		err = printEnv(out, made.results[0].GetAuthDecoration())
	case "netrc":
		err = printNetrc(out, made.results[0].GetAuthDecoration())
	default:
		printDecorations(newScreen(out), made, f.showSecrets)
	}
	return errors.Join(append(failed, err)...)
}

// ask sends a request to the broker, and returns an error only if the whole call failed.
func (f *getFlags) ask(ctx context.Context, broker authmaterialv1.BrokerServiceClient, ids []string) (answer, error) {
	switch {
	case f.version != "":
		response, err := broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
			CredentialId: ids[0], Version: f.version, HttpStatus: f.httpStatus,
		})
		return answer{response, oneResult(ids[0], response.GetAuthDecoration()), f.outcomeOf(response)}, err
	case len(ids) == 1:
		response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: ids[0]})
		return answer{response, oneResult(ids[0], response.GetAuthDecoration()), ""}, err
	default:
		request := &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids}
		size := grpc.MaxCallRecvMsgSize(min(maxResponse, len(ids)*maxDecoration))
		response, err := broker.BatchGetAuthDecorations(ctx, request, size)
		return answer{response, response.GetResults(), ""}, err
	}
}

// outcomeOf returns the outcome of a report, and whether the broker ignored the report because of its
// HTTP status.
func (f *getFlags) outcomeOf(response *authmaterialv1.ReportRejectionResponse) string {
	outcome := strings.TrimPrefix(response.GetOutcome().String(), "OUTCOME_")
	rejected, conditions := rejectionRules(response.GetAuthDecoration())
	for _, condition := range conditions {
		rejected = append(rejected, condition.Statuses...)
	}
	slices.Sort(rejected)
	if !slices.Contains(rejected, int(f.httpStatus)) {
		outcome += ": the broker ignored the report, because the provider rejects this material only with HTTP status " + statuses(slices.Compact(rejected))
	}
	return outcome
}

func oneResult(id string, decoration *authmaterialv1.AuthDecoration) []*authmaterialv1.AuthDecorationResult {
	return []*authmaterialv1.AuthDecorationResult{{
		CredentialId: id, Result: &authmaterialv1.AuthDecorationResult_AuthDecoration{AuthDecoration: decoration},
	}}
}

// onlyID returns the only ID of a call, or an empty text if the call has several IDs.
func onlyID(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return ""
}
