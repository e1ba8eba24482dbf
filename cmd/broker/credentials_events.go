package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const maxPage = 1000 // the largest number of credentials or events in one response

func newCredentialsEvents() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use:   "events ID",
		Short: "Lists the changes and verifications of a credential, the newest first",
		Long: `Lists the changes and verifications of a managed credential, the newest first: who, when, what,
and the names of the fields, never their values. The broker's audit log also has the calls that
use a credential.`,
		Example: `  broker credentials events mail
  broker credentials events mail --limit 1000 -o json`,
	}
	command.Flags().IntVar(&limit, "limit", 50, "the largest `NUMBER` of events")
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		if limit < 1 {
			return misused("--limit must be at least 1")
		}
		all, err := m.events(ctx, args[0], limit)
		if err != nil {
			return err
		}
		return m.print(all, func() error { return printEvents(m.out, all.GetEvents()) })
	})
}

func (m *manager) events(ctx context.Context, id string, limit int) (*authmaterialv1.ListCredentialEventsResponse, error) {
	all := &authmaterialv1.ListCredentialEventsResponse{}
	request := &authmaterialv1.ListCredentialEventsRequest{CredentialId: id}
	for len(all.GetEvents()) < limit {
		request.PageSize = int32(min(limit-len(all.GetEvents()), maxPage)) //nolint:gosec // at most maxPage
		page, err := m.ListCredentialEvents(ctx, request)
		if err != nil {
			return nil, err
		}
		all.Events = append(all.Events, page.GetEvents()...)
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			break
		}
	}
	return all, nil
}

func printEvents(out *screen, events []*authmaterialv1.CredentialEvent) error {
	var table [][]string
	for _, event := range events {
		version, details := "-", strings.Join(event.GetFields(), ", ")
		if event.GetVersion() != 0 {
			version = fmt.Sprint(event.GetVersion())
		}
		if event.GetOutcome() != 0 {
			details = inWords(event.GetOutcome(), "VERIFICATION_OUTCOME_")
		}
		table = append(table, []string{
			moment(event.GetTime(), false), event.GetCaller(), strings.ReplaceAll(event.GetOperation(), "_", " "), version, details,
		})
	}
	return out.printTable([]string{"TIME", "CALLER", "WHAT", "VERSION", "FIELDS OR OUTCOME"}, table)
}
