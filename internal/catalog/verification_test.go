package catalog_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/catalog"
)

// `verified` returns the definition of a method with this verification, in YAML's flow style.
func verified(verification string) string {
	return with(fieldA + "  headers: [{name: X, value: \"${a}\"}]\n  verification: " + verification + "\n")
}

func TestVerificationIsRead(t *testing.T) {
	const text = `{method: POST, path: "/me?full=1", allow_private_addresses: true, answers: [` +
		`{statuses: [200, 204], json: {ok: true, code: 0, text: "", more: 1.5}, outcome: ACCEPTED}, ` +
		`{statuses: [401], json: {}, outcome: REFUSED, explanation: Check it.}, ` +
		`{statuses: [400], headers: {X-Reason: a b}, json: {"error.\\.x.0": {not: 1}}, outcome: REFUSED}, ` +
		`{statuses: [403], outcome: INCONCLUSIVE}]}`
	provider, err := define(verified(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &catalog.Verification{
		Method: "POST", Path: "/me?full=1", AllowPrivateAddresses: true, Answers: []catalog.VerificationAnswer{
			{Condition: catalog.Condition{Statuses: []int{200, 204}, JSON: catalog.Members{
				{Path: []string{"ok"}, Value: true}, {Path: []string{"code"}, Value: 0.0},
				{Path: []string{"text"}, Value: ""}, {Path: []string{"more"}, Value: 1.5},
			}}, Outcome: catalog.Accepted},
			{Condition: catalog.Condition{Statuses: []int{401}, JSON: catalog.Members{}}, Outcome: catalog.Refused, Explanation: "Check it."},
			{Condition: catalog.Condition{
				Statuses: []int{400}, Headers: map[string]string{"X-Reason": "a b"},
				JSON: catalog.Members{{Path: []string{"error", ".x", "0"}, Value: 1.0, Not: true}},
			}, Outcome: catalog.Refused},
			{Condition: catalog.Condition{Statuses: []int{403}}, Outcome: catalog.Inconclusive},
		},
	}
	if diff := cmp.Diff(want, provider.AuthMethods[0].Verification); diff != "" {
		t.Error(diff)
	}
}

func TestVerificationDefaults(t *testing.T) {
	provider, err := define(verified(`{url: "https://P.test:443/me", answers: [{statuses: [200], outcome: ACCEPTED}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := provider.AuthMethods[0]
	if got.Verification.Method != http.MethodGet || got.Verification.AllowPrivateAddresses || got.Verification.Answers[0].JSON != nil {
		t.Errorf("the verification is %+v", got.Verification)
	}
	if got.Rotation != catalog.RotationUnknown {
		t.Errorf("the rotation is %s", got.Rotation)
	}
}

// TestVerificationHosts checks that the default port may be written in allowed_hosts, in the URL, or in
// neither.
func TestVerificationHosts(t *testing.T) {
	for _, host := range []string{"p.test", "p.test:443", "${b}.example.com", "${b}.example.com:443"} {
		for _, port := range []string{"", ":443"} {
			text := strings.Replace(verified(`{url: "https://`+strings.TrimSuffix(host, ":443")+port+`/me", answers: [{statuses: [200], outcome: ACCEPTED}]}`), "[p.test]", `["`+host+`"]`, 1)
			text = strings.Replace(text, "fields: [", "fields: [{id: b, display_name: B, required: true, secret: false}, ", 1)
			if strings.HasPrefix(host, "p") {
				text = strings.Replace(text, "headers: [", "headers: [{name: Y, value: \"${b}\"}, ", 1)
			}
			if _, err := define(text); err != nil {
				t.Errorf("%s and a URL with the port %q: %v", host, port, err)
			}
		}
	}
	_, err := define(strings.Replace(verified(`{url: "https://p.test/me", answers: [{statuses: [200], outcome: ACCEPTED}]}`), "[p.test]", "p.test", 1))
	if err == nil || strings.Contains(err.Error(), "allowed_hosts") {
		t.Errorf("the problem of allowed_hosts is reported twice: %v", err)
	}
}

func TestVerificationMistakes(t *testing.T) {
	const answers = ", answers: [{statuses: [200], outcome: ACCEPTED}]}"
	for text, want := range map[string]string{
		"{}": `9:17: needs url or path; with path, each allowed host of the credential is asked` + "\n" + `9:17: the key "answers" is missing`,
		"{url: \"https://p.test/\", path: /a" + answers:                                      "9:42: is not allowed together with url",
		"{url: \"https://other.test/\"" + answers:                                            "9:23: the host, with its port, must be one of allowed_hosts",
		"{url: \"https://p.test:8443/\"" + answers:                                           "9:23: the host, with its port, must be one of allowed_hosts",
		"{url: \"http://p.test/\"" + answers:                                                 "9:23: must begin with https://, or with http:// and a literal loopback address",
		"{url: \"https://p.test/${b}\"" + answers:                                            "9:41: unknown field or function; there are: a, base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)",
		"{path: \"/${a}\"" + answers:                                                         "9:26: " + unevaluated,
		"{path: me" + answers:                                                                "9:24: must be a path such as /api/v1/me, optionally with a query",
		"{path: \".other.test/\"" + answers:                                                  "9:24: must be a path such as /api/v1/me, optionally with a query",
		"{path: \"/a#b\"" + answers:                                                          "9:24: must be a path such as /api/v1/me, optionally with a query",
		"{path: \"/a b\"" + answers:                                                          "9:24: must be a path such as /api/v1/me, optionally with a query",
		"{path: \"/%zz\"" + answers:                                                          "9:24: must be a path such as /api/v1/me, optionally with a query",
		"{path: /a, method: PUT" + answers:                                                   `9:36: must be one of "GET", "HEAD", "POST"`,
		"{path: /a, methods: GET" + answers:                                                  `9:28: unknown key; did you mean "method"?`,
		"{path: /a, answers: [{statuses: [], outcome: ACCEPTED}]}":                           "9:49: must have 1 to 20 items, and has 0",
		"{path: /a, answers: [{statuses: [199], outcome: ACCEPTED}]}":                        "9:50: must be a whole number from 200 to 599",
		"{path: /a, answers: [{statuses: [200], outcome: MAYBE}]}":                           `9:65: must be one of "ACCEPTED", "REFUSED", "INCONCLUSIVE"`,
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a: [b]}}]}":         "9:84: must be a string, a number, or true or false, and is a list",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a: {nor: b}}}]}":    "9:84: the key \"not\" is missing\n9:85: unknown key; did you mean \"not\"?",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a: {not: [b]}}}]}":  "9:90: must be a string, a number, or true or false, and is a list",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a..b: 1}}]}":        "9:81: a path has 1 to 20 names of members, separated by dots, such as data.token; write \\. for a dot in a name",
		`{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a\: 1}}]}`:          `9:81: a path has 1 to 20 names of members, separated by dots, such as data.token; write \. for a dot in a name`,
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, headers: {a b: x}}]}":      "9:84: this is not a name of an HTTP header: use letters, digits and hyphens",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, headers: {a: x, A: x}}]}":  "9:90: duplicate name: it is already in line 9",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, headers: {a: ' x'}}]}":     "9:87: must consist of visible ASCII characters and spaces, without a space at either end",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, headers: {a: é}}]}":        "9:87: must consist of visible ASCII characters and spaces, without a space at either end",
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a: 'x${y}'}}]}":     "9:86: `${` is not evaluated here and would be used as it is written: write the text that is meant",
		"{path: /a, answers: [{outcome: REFUSED, headers: {a: x}}]}":                         `9:38: the key "statuses" is missing`,
		"{path: /a, answers: [{statuses: [200], outcome: REFUSED, json: {a: .inf}}]}":        "9:84: must be a decimal number",
		"{path: /a, method: HEAD, answers: [{statuses: [200], outcome: REFUSED, json: {}}]}": "9:88: the answer to HEAD has no body: use GET",
	} {
		t.Run(text, func(t *testing.T) {
			_, err := define(verified(text))
			if err == nil {
				t.Fatal("the definition has no problem")
			}
			if got := strings.ReplaceAll(err.Error(), "p.yaml:", ""); got != want {
				t.Errorf("the problems are\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestRotationMistakes(t *testing.T) {
	_, err := define(with(fieldA + "  headers: [{name: X, value: \"${a}\"}]\n  rotation: NEVER\n"))
	const want = `p.yaml:9:13: must be one of "OVERLAPPING", "REVOKES_PREVIOUS", "UNKNOWN"`
	if err == nil || err.Error() != want {
		t.Errorf("the problems are\n%v\nwant\n%s", err, want)
	}
}

func TestFieldsThatDoNotStateSecret(t *testing.T) {
	provider, err := define(with("  fields: [{id: a, display_name: A}, {id: b, display_name: B, secret: false}, {id: c, display_name: C, secret: true}]\n" +
		"  headers: [{name: X, value: \"${a} ${b} ${c}\"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, provider.AuthMethods[0].UnclassifiedFields()); diff != "" {
		t.Error(diff)
	}
}

// TestBuiltinProvidersCanBeManaged checks that every built-in method can be used for managed
// credentials, and that the methods of the first four providers can be verified and state what a new
// secret does to the old one.
func TestBuiltinProvidersCanBeManaged(t *testing.T) {
	rotations := map[string]catalog.Rotation{
		"pendo.api_key":                       catalog.RotationUnknown,
		"pulsedive.api_key":                   catalog.RotationUnknown,
		"sendpulse.oauth2_client_credentials": catalog.RotationRevokesPrevious,
		"sendpulse.api_key":                   catalog.RotationOverlapping,
		"spotdraft.client_headers":            catalog.RotationUnknown,
	}
	for _, provider := range catalog.Builtin().Providers() {
		for _, method := range provider.AuthMethods {
			name := provider.ID + "." + method.ID
			if fields := method.UnclassifiedFields(); fields != nil {
				t.Errorf("%s: the fields %q do not state `secret`", name, fields)
			}
			want, ok := rotations[name]
			if ok && method.Verification == nil {
				t.Errorf("%s cannot be verified", name)
			}
			if ok && method.Rotation != want {
				t.Errorf("%s has the rotation %q, want %q", name, method.Rotation, want)
			}
			delete(rotations, name)
		}
	}
	if len(rotations) != 0 {
		t.Errorf("these methods are missing: %v", slices.Sorted(maps.Keys(rotations)))
	}
}
