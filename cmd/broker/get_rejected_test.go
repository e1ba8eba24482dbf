package main

import (
	"strings"
	"testing"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func TestGetNotesARejectedKey(t *testing.T) {
	startBroker(t, "tcp", host)
	if table := succeed(t, "get", "pendo"); strings.Contains(table, "\nrejected  ") {
		t.Errorf("the table has a row about a rejection, although no rejection was reported:\n%s", table)
	}
	response := new(authmaterialv1.GetAuthDecorationResponse)
	readJSON(t, succeed(t, "get", "pendo", "-o", "json"), response)
	version := response.GetAuthDecoration().GetVersion()
	const ignored = "\noutcome       NOT_REPLACEABLE: the broker ignored the report, because the provider rejects this material only with HTTP status 403\n"
	if table := succeed(t, "get", "pendo", "--report-rejection", version, "--http-status", "401"); !strings.Contains(table, ignored) {
		t.Errorf("after a report of another status, the table is:\n%s", table)
	}
	if table := succeed(t, "get", "pendo", "--report-rejection", version, "--http-status", "403"); strings.Contains(table, "ignored") {
		t.Errorf("after a report that counts, the table is:\n%s", table)
	}
	const want = "\nrejected      2031-02-03T04:05:06Z, as a caller reported: check the values at the provider\n"
	if table := succeed(t, "get", "pendo"); !strings.Contains(table, want) {
		t.Errorf("the table lacks the row about the reported rejection:\n%s", table)
	}
	readJSON(t, succeed(t, "get", "pendo", "-o", "json"), response)
	if at := response.GetAuthDecoration().GetLastRejectionTime().AsTime(); at.Unix() != 1927857906 {
		t.Errorf("the JSON has the wrong rejection time %v", at)
	}
}
