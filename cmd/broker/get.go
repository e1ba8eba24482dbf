package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// defaultTimeout is that of get: as long as the broker's own token requests.
const defaultTimeout = 10 * time.Second

const getHelp = `Asks a running broker for the material of credentials, as a service would.

The table masks values, unless --show-secrets says otherwise. The other forms hold
them, for they are of no use without:

  json  For one ID the JSON of GetAuthDecorationResponse, for several that of
        BatchGetAuthDecorationsResponse, with --report-rejection that of
        ReportRejectionResponse: the field names are those of the proto's JSON, in
        which lists are there even when empty.
  curl  A command that calls --url with the material, for a POSIX shell. It keeps the
        material out of the list of processes. A URL whose host is none of the
        credential's allowed hosts is refused.

` + connectionHelp + `

Shells complete IDs from the configuration file that ` + configVariable + ` names.

Exit status: 0 with the material of every ID, 1 without that of some, 2 for wrong usage.`

const getExamples = `  broker get sendpulse-prod
  broker get sendpulse-prod pulsedive -o json
  broker get pendo --address broker.example:50051 --tls-ca ca.pem --token-file token
  broker get pulsedive -o curl --url 'https://pulsedive.com/api/info.php?indicator=x.com' | sh
  broker get sendpulse-prod --report-rejection VERSION --http-status 401`

// getFlags are the flags of get.
type getFlags struct {
	connection
	format      *choice
	timeout     time.Duration
	showSecrets bool
	url         string
	version     string // of the material that was rejected
	httpStatus  int32
}

func newGet() *cobra.Command {
	flags := getFlags{format: newChoice("table", "json", "curl")}
	command := &cobra.Command{
		Use:     "get ID...",
		Short:   "Asks a running broker for the material of credentials",
		Long:    getHelp,
		Example: getExamples,
		ValidArgsFunction: func(_ *cobra.Command, given []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeCredentials("", given, begun), cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(_ *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return errors.New("the ID of a credential is needed")
			}
			return nil
		},
		PreRunE: flags.check,
		RunE:    explained(flags.run),
	}
	flags.add(command)
	return command
}

func (f *getFlags) add(command *cobra.Command) {
	flags := command.Flags()
	f.addFlags(command)
	flags.DurationVar(&f.timeout, "timeout", defaultTimeout, "how long to wait")
	flags.BoolVar(&f.showSecrets, "show-secrets", false, "show values in the table")
	flags.StringVar(&f.url, "url", "", "the `URL` to call, for -o curl")
	flags.StringVar(&f.version, "report-rejection", "", "report that the provider rejected this `VERSION`, and get what replaces it")
	flags.Int32Var(&f.httpStatus, "http-status", 0, "the `STATUS` by which the provider rejected it")
	command.MarkFlagsRequiredTogether("report-rejection", "http-status")
	addOutputFlag(command, f.format)
	completeNothing(command, "timeout", "url", "report-rejection", "http-status")
}

// check finds what is wrong with the command line beyond single flags.
func (f *getFlags) check(command *cobra.Command, ids []string) error {
	if err := f.checkFlags(command.Flags()); err != nil {
		return err
	}
	reports := command.Flags().Changed("report-rejection")
	switch curl := f.format.value == "curl"; {
	case f.timeout <= 0:
		return errors.New("--timeout must be longer than nothing")
	case curl != (f.url != ""):
		return errors.New("-o curl and --url URL need each other")
	case curl && len(ids) > 1:
		return errors.New("-o curl takes one ID")
	case reports && len(ids) > 1:
		return errors.New("--report-rejection takes one ID")
	case reports && f.version == "":
		return errors.New("--report-rejection needs the version that was rejected")
	case curl:
		return checkURL(f.url)
	}
	return nil
}

// run asks, prints what there is, and returns why the rest is not there.
func (f *getFlags) run(command *cobra.Command, ids []string) error {
	ctx, cancel := context.WithTimeout(command.Context(), f.timeout)
	defer cancel()
	connection, err := f.open(command.InOrStdin())
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // nothing is lost
	answers, err := f.ask(ctx, authmaterialv1.NewBrokerServiceClient(connection), ids)
	if err != nil {
		return err
	}
	var refused []error
	for _, answer := range answers {
		if answer.refusal != nil {
			refused = append(refused, answer.refusal)
		}
	}
	return errors.Join(append(refused, f.print(command.OutOrStdout(), answers))...)
}

func (f *getFlags) print(out io.Writer, answers []answer) error {
	switch f.format.value {
	case "json":
		return printJSON(out, answers)
	case "curl":
		return printCurl(out, answers[0].decoration, f.url)
	default:
		printTable(newScreen(out), answers, f.showSecrets)
		return nil
	}
}
