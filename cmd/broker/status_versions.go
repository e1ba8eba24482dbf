package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// printVersionsInUse prints which callers were sent and use which version of the material.
func printVersionsInUse(out *screen, status *authmaterialv1.CredentialStatus) error {
	all := status.GetVersionsInUse()
	if len(all.GetVersions()) == 0 {
		return nil
	}
	title := "Versions in use at all replicas, in the last 7 days"
	if !all.GetWholeFleet() {
		title = "Versions in use at this replica, since " + moment(status.GetSince(), false)
	}
	fmt.Fprintf(out, "\n%s\n", out.bold(title))
	var table, earlier [][]string
	for _, v := range all.GetVersions() {
		is := "earlier"
		if v.GetCurrent() {
			is = "current"
		}
		table = append(table, []string{
			v.GetVersion(), number(v.GetCredentialVersion()), is,
			fmt.Sprint(v.GetCallersSent()), minute(v.GetFirstSentTime()), minute(v.GetLastSentTime()),
			fmt.Sprint(v.GetCallersUsed()), minute(v.GetFirstUseTime()), minute(v.GetLastUseTime()),
		})
		for _, c := range v.GetCallers() {
			if !v.GetCurrent() {
				earlier = append(earlier, []string{v.GetVersion(), c.GetCaller(), minute(c.GetLastSentTime()), minute(c.GetLastUseTime())})
			}
		}
	}
	err := out.printTable([]string{"VERSION", "NUMBER", "STATE", "SENT TO", "FIRST SENT", "LAST SENT", "USED BY", "FIRST USE", "LAST USE"}, table)
	if err == nil && earlier != nil {
		fmt.Fprintf(out, "\n%s\n", out.bold("Callers of earlier versions"))
		err = out.printTable([]string{"VERSION", "CALLER", "LAST SENT", "LAST USE"}, earlier)
	}
	if n := all.GetTotalWithoutReports(); n > 0 {
		fmt.Fprintf(out, "\n%s\n", out.bold(fmt.Sprintf("Callers that do not report which version they use: %d", n)))
		names := strings.Join(all.GetCallersWithoutReports(), ", ")
		if int(n) > len(all.GetCallersWithoutReports()) {
			names += ", …"
		}
		out.printWrapped("", names)
	}
	if all.GetTruncated() {
		fmt.Fprintln(out)
		out.printWrapped("", "There are more callers or versions than the broker remembers or shows.")
	}
	return err
}

func minute(at *timestamppb.Timestamp) string {
	if at == nil {
		return "-"
	}
	return at.AsTime().Format("2006-01-02T15:04Z")
}
