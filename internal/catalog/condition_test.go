package catalog_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// condition returns the condition with these keys, in YAML's flow style.
func condition(t *testing.T, keys string) catalog.Condition {
	t.Helper()
	provider, err := define(verified("{path: /a, answers: [{outcome: REFUSED, " + keys + "}]}"))
	if err != nil {
		t.Fatal(err)
	}
	return provider.AuthMethods[0].Verification.Answers[0].Condition
}

func TestConditions(t *testing.T) {
	const both = `statuses: [200, 403], headers: {X-A: "1, 2"}, json: {ok: false, error.code: {not: 3}}`
	for _, test := range []struct {
		keys   string
		status int
		header http.Header
		body   string
		want   bool
	}{
		{"statuses: [403]", 403, nil, "", true},
		{"statuses: [403]", 401, nil, "", false},
		{"statuses: [403], json: {}", 403, nil, "[]", true},
		{"statuses: [403], json: {}", 403, nil, "<p>", false},
		{"statuses: [403], headers: {x-a: b}", 403, http.Header{"X-A": {"b"}}, "", true},
		{"statuses: [403], headers: {x-a: b}", 403, http.Header{"X-A": {"B"}}, "", false},
		{"statuses: [403], headers: {x-a: b}", 403, http.Header{"X-B": {"b"}}, "", false},
		{both, 403, http.Header{"X-A": {"1", "2"}}, `{"ok": false, "error": {"code": 4}}`, true},
		{both, 200, http.Header{"X-A": {"1, 2"}}, `{"ok": false, "error": {"code": null}}`, true},
		{both, 200, http.Header{"X-A": {"1, 2"}}, `{"ok": false, "error": {"code": 3.0}}`, false},
		{both, 200, http.Header{"X-A": {"1, 2"}}, `{"ok": false, "error": {}}`, false},
		{both, 200, http.Header{"X-A": {"1, 2"}}, `{"ok": 0, "error": {"code": 4}}`, false},
		{both, 200, http.Header{"X-A": {"1, 2"}}, `{"ok": false, "error": {"code": 1e400}}`, true},
		{both, 200, http.Header{"X-A": {"2, 1"}}, `{"ok": false, "error": {"code": 4}}`, false},
		{both, 201, http.Header{"X-A": {"1, 2"}}, `{"ok": false, "error": {"code": 4}}`, false},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			body, err := jsonpath.Decode([]byte(test.body))
			if got := condition(t, test.keys).Matches(test.status, test.header, body, err == nil); got != test.want {
				t.Errorf("the condition matches: %v", got)
			}
		})
	}
}

// TestConditionsAsJSON checks that a condition as JSON is the definition of the condition.
func TestConditionsAsJSON(t *testing.T) {
	for _, keys := range []string{
		`"statuses":[200],"headers":{"X-A":"b"},"json":{"a&.b":true,"a\\.b.0":{"not":"x"}}`, `"statuses":[200],"json":{}`, `"statuses":[200]`,
	} {
		text, err := json.Marshal(condition(t, strings.ReplaceAll(keys, ":", ": ")))
		if want := strings.ReplaceAll("{"+keys+"}", "&", `\u0026`); err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
	}
}
