package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const statusHelp = `Shows whether a credential works, and why or why not: its state, the token that is served and
until when, the latest token request and verification, the latest rejection that a caller
reported, which callers used the credential, and which versions of the material they use. It works
for declared credentials too.

After a rotation, the versions in use show when the old secret can be revoked at the provider: when
no caller reports the use of an earlier version any more, and no caller reports nothing. Only callers
with one of the broker's clients report which version they use.

Token requests and rejections are those of the answering replica.`

func newStatus() *cobra.Command {
	command := &cobra.Command{
		Use:     "status ID",
		Short:   "Shows whether a credential works, and why",
		Long:    statusHelp,
		Example: `  broker status mail`,
	}
	return managing(command, func(ctx context.Context, m *manager, args []string) error {
		response, err := m.GetCredentialStatus(ctx, &authmaterialv1.GetCredentialStatusRequest{CredentialId: args[0]})
		if err != nil {
			return err
		}
		return m.print(response, func() error { return printStatus(m.out, response) })
	})
}

func printStatus(out *screen, response *authmaterialv1.GetCredentialStatusResponse) error {
	credential, status := response.GetCredential(), response.GetStatus()
	var list rows
	list.add("ID", credential.GetCredentialId())
	list.add("state", inWords(status.GetState(), "CREDENTIAL_STATE_"))
	list.addTime("since", credential.GetStateTime(), out.terminal)
	list.add("provider", credential.GetProvider()+", "+credential.GetAuthMethod())
	if v := status.GetVerification(); v != nil {
		list.add("verified", moment(v.GetVerifyTime(), out.terminal)+", "+outcome(v))
	}
	list.addTime("activated", status.GetActivateTime(), out.terminal)
	list.addTime("secret expires", credential.GetSecretExpireTime(), out.terminal)
	if status.GetTokenRequestsToday() > 0 {
		list.add("token requests", fmt.Sprintf("%d today", status.GetTokenRequestsToday()))
	}
	out.printRows("", list)
	if text := status.GetExplanation(); text != "" {
		fmt.Fprintln(out)
		out.printWrapped("", text)
	}
	printMaterial(out, "Active version", status.GetActive())
	if canary := status.GetCanary(); canary != nil {
		printMaterial(out, "Canary for "+strings.Join(credential.GetCanary().GetCallers(), ", "), canary)
	}
	if err := printCallers(out, status); err != nil {
		return err
	}
	return printVersionsInUse(out, status)
}

func printCallers(out *screen, status *authmaterialv1.CredentialStatus) error {
	if len(status.GetCallers()) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\n%s\n", out.bold("Callers since "+moment(status.GetSince(), false)))
	var table [][]string
	for _, use := range status.GetCallers() {
		table = append(table, []string{use.GetCaller(), minute(use.GetLastUseTime()), fmt.Sprint(use.GetCount()), number(use.GetVersion())})
	}
	return out.printTable([]string{"CALLER", "LAST USE", "CALLS", "VERSION"}, table)
}

func printMaterial(out *screen, title string, material *authmaterialv1.MaterialStatus) {
	if material == nil {
		return
	}
	if material.GetVersion() != 0 {
		title += fmt.Sprintf(": %d", material.GetVersion())
	}
	var list rows
	list.addTime("token obtained", material.GetObtainTime(), out.terminal)
	list.addTime("token expires", material.GetExpireTime(), out.terminal)
	list.addTime("token renews", material.GetRenewTime(), out.terminal)
	if last := material.GetLastAttempt(); last != nil {
		list.add("last request", moment(last.GetTime(), out.terminal)+", "+attempt(last))
	}
	list.addTime("next request", material.GetNextAttemptTime(), out.terminal)
	if material.GetReports() > 0 {
		list.add("rejections", fmt.Sprintf("callers reported %d, the last at %s", material.GetReports(), moment(material.GetLastReportTime(), out.terminal)))
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", out.bold(printable(title)))
	out.printRows("", list)
}

func attempt(last *authmaterialv1.TokenAttempt) string {
	if last.GetSucceeded() {
		return "the provider issued a token"
	}
	text := "failed: " + last.GetExplanation()
	if last.GetHttpStatus() != 0 && !strings.Contains(text, fmt.Sprint(last.GetHttpStatus())) {
		text += fmt.Sprintf(" (HTTP %d)", last.GetHttpStatus())
	}
	if code := last.GetOauthError(); code != "" && !strings.Contains(text, code) {
		text += " (" + code + ")"
	}
	return text
}

func number(version int32) string {
	if version == 0 {
		return "-"
	}
	return fmt.Sprint(version)
}
