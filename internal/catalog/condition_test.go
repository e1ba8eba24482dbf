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

func TestRejections(t *testing.T) {
	provider, err := define(with(fieldA + "  rejected_when: [{statuses: [403], headers: {X-Reason: expired}}, {statuses: [200, 403], json: {ok: false}}]\n" +
		"  headers: [{name: X, value: \"${a}\"}, {name: Y, value: z, only_if_absent: true}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	method := provider.AuthMethods[0]
	for status, want := range map[int]bool{200: true, 201: false, 400: false, 401: true, 403: true} {
		if got := method.MayReject(status); got != want {
			t.Errorf("MayReject(%d) = %v", status, got)
		}
	}
	if method.Headers[0].OnlyIfAbsent || !method.Headers[1].OnlyIfAbsent {
		t.Errorf("the headers are %+v", method.Headers)
	}
	text, err := json.Marshal(method)
	for _, want := range []string{
		`"rejected_when":[{"statuses":[403],"headers":{"X-Reason":"expired"}},{"statuses":[200,403],"json":{"ok":false}}]`,
		`{"name":"X","value":"${a}"},{"name":"Y","value":"z","only_if_absent":true}`,
	} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("the definition as JSON is %s (%v), and lacks %s", text, err, want)
		}
	}
}

func TestRejectionMistakes(t *testing.T) {
	const x = "  headers: [{name: X, value: \"${a}\"}]\n"
	for text, want := range map[string]string{
		"  rejected_when: [{json: {ok: false}}]\n" + x:                                                                                   `8:19: the key "statuses" is missing`,
		"  rejected_when: [{statuses: [403, 200], json: {}}]\n" + x:                                                                      "8:30: a status below 400 needs headers or json too, because most answers with this status are no rejections",
		"  rejected_when: [{statuses: [403], outcome: REFUSED}]\n" + x:                                                                   `8:37: unknown key; known here: "headers", "json", "statuses"`,
		"  rejected_when: [{statuses: [403], json: {a: " + strings.Repeat("x", 4096) + ", b: " + strings.Repeat("x", 4096) + "}}]\n" + x: "8:18: must have at most 8 KiB",
		"  rejected_when: []\n" + x: "8:18: must have 1 to 10 items, and has 0",
		"  query_params: [{name: x, value: \"${a}\", only_if_absent: true}]\n": `8:43: unknown key; known here: "name", "value"`,
		"  headers: [{name: x, value: \"${a}\", only_if_absent: yes}]\n":       "8:54: must be true or false, and is a string",
	} {
		_, err := define(with(fieldA + text))
		if want = "p.yaml:" + want; err == nil || err.Error() != want {
			t.Errorf("%.60s: the problems are\n%v\nwant\n%s", text, err, want)
		}
	}
}
