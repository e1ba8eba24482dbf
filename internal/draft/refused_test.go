package draft_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/curlcommand"
	"github.com/authmaterial/broker/internal/draft"
)

func draftFrom(text string) (*draft.Definition, error) {
	commands, err := curlcommand.Parse(text)
	if err != nil {
		return nil, err
	}
	definition, err := draft.FromCurl(commands)
	if err != nil {
		return nil, err
	}
	_, err = definition.YAML()
	return definition, err
}

func TestRefusedCommands(t *testing.T) {
	for command, want := range map[string]string{
		`wget https://api.example.com`: "the text has no curl command",
		`curl -H 'X-Api-Key: s3cr3t`:   "check the quotes near line 1, column 9",
		`curl -H "X-Api-Key: s3cr3t"`:  "the command has no URL",
		`curl -H`:                      "curl's option --header needs an argument",
		`curl -H 'X-Api-Key: s3cr3t' https://a.example.com https://b.example.com`:                              "two URLs",
		`curl -H 'X-Api-Key: s3cr3t' ftp://a.example.com`:                                                      "must begin with https://",
		`curl -H 'X-Api-Key: s3cr3t' https://`:                                                                 "the URL of the command is not valid",
		`curl -H @headers https://a.example.com`:                                                               "reads headers from a file",
		`curl -K file https://a.example.com`:                                                                   "curl's option --config",
		`curl --digest -u u:s3cr3t https://a.example.com`:                                                      "this kind of authentication",
		`curl -H "X-Api-Key: $((1+2))" https://a.example.com`:                                                  "uses the shell in a way",
		`curl https://a.example.com/v1/me`:                                                                     "nothing in the command looks like authentication",
		`curl https://api.telegram.org/bot123456:s3cr3t-DEF1234ghIkl/getMe`:                                    "nothing in the command looks like authentication",
		`curl https://a.example.com/v1/me -d api_key=s3cr3t`:                                                   "the key in its body",
		`curl https://a.example.com/v1/me --json '{"apiKey": "s3cr3t"}'`:                                       "the key in its body",
		`curl https://a.example.com -H 'Authorization: AWS4-HMAC-SHA256 Credential=s3cr3t, Signature=1'`:       "signature over the request",
		`curl 'https://a.example.com/?X-Amz-Signature=s3cr3t'`:                                                 "signature over the request",
		`curl --aws-sigv4 aws:amz:us-east-1:s3 -u s3cr3t:b https://a.example.com`:                              "signatures over the request",
		`curl -H 'X-Api-Key: s3cr3t' "https://$SUBDOMAIN.example.com/"`:                                        "the host of the URL has a variable",
		`curl -H 'X-Api-Key: s3cr3t' 'https://{subdomain}.example.com/'`:                                       "its host has a placeholder",
		`curl -H 'X-Api-Key: s3cr3t' 'https://бюро.example.com/'`:                                              "neither a name in ASCII nor an IP address",
		`curl -H 'X-Api-Key: s3cr3t' https://a.example.com; curl -H 'X-Api-Key: s3cr3t' https://a.example.com`: "several curl commands of the same kind",
		`curl -H 'X-Api-Key: s3cr3t' 'https://a.example.com/'` + strings.Repeat(" ", 256<<10):                  "longer than 256 KiB",
		`curl -d grant_type=client_credentials https://a.example.com/token`:                                    "nothing that looks like a secret",
		`curl -u a:s3cr3t -d grant_type=client_credentials http://a.example.com/token`:                         "the token request must use https",
		`curl -u a:s3cr3t -d grant_type=authorization_code -d code=1 https://a.example.com/token`:              "needs a person in a browser",
		`curl -u a:s3cr3t -d grant_type=$GRANT https://a.example.com/token`:                                    "grant_type that is a variable",
		`curl -X DELETE -u a:s3cr3t -d grant_type=password https://a.example.com/token`:                        "POST, GET or PUT",
		`curl -u a:s3cr3t -F grant_type=password https://a.example.com/token`:                                  "in a form (curl's option --data), in JSON or in the query",
		`curl -H 'Token s3cr3t: a' https://a.example.com`:                                                      "a header without a valid name",
		`curl -E a.pem:s3cr3t -H 'X-Api-Key: s3cr3t' https://a.example.com`:                                    "gives callers no client certificate",
		"curl -H \"X-Api-Key: s3cr3t\" ^\r\n  https://a.example.com":                                           "for a shell of Windows",
		"curl -H \"X-Api-Key: s3cr3t\" `\n  https://a.example.com":                                             "a line ends in a space and a backtick",
		"TOKEN=`curl -u a:s3cr3t \\\n  https://a.example.com `":                                                "write $(COMMAND)",
		`curl ^"https://a.example.com^" -H ^"X-Api-Key: s3cr3t^"`:                                              "for a shell of Windows",
	} {
		_, err := draftFrom(command)
		switch {
		case err == nil:
			t.Errorf("there is no error for %.100s", command)
		case !strings.Contains(err.Error(), want):
			t.Errorf("the error for %.100s is %q, which does not contain %q", command, err, want)
		case strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("the error for %.100s contains a secret: %v", command, err)
		}
	}
}

func TestNotes(t *testing.T) {
	for command, want := range map[string]string{
		`curl -u k: https://acme.example.com/v1/me`: `use a template such as "${account}.example.com"`,
		`curl -u AC0123456789abcdef:0a1b2c3d https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef.json?Page=0`: `url: "https://api.twilio.com/2010-04-01/Accounts/${username}.json?Page=0"`,
		`curl -d grant_type=refresh_token -d refresh_token=r https://a.example.com/token`:                               "new refresh token that replaces this one",
		`curl -H 'X-Api-Key: k' api.example.com/v1`:                                                                     "names no scheme",
		`curl -H 'X-Api-Key: k' http://api.example.com/v1`:                                                              "uses http",
		`curl -H 'X-Api-Key: k' -X DELETE https://api.example.com/v1`:                                                   "no GET request",
		`curl -H 'X-Api-Key: k' https://api.example.com/accounts/4f3c2b1a9d8e7f60`:                                      "may belong to one account",
		`curl -H 'X-Api-Key: k' 'https://api.example.com/v1/me?email=a@example.com'`:                                    "may belong to one account",
		`curl -H 'X-Api-Key: k' 'https://api.example.com/v1/{account}/me'`:                                              "may belong to one account",
		`curl -u acme:k1 https://api.example.com/v1/acme/me`:                                                            "may belong to one account",
		`curl -H 'X-Api-Key: k' -H 'X-Region: eu' https://api.example.com`:                                              `callers set themselves: "X-Region"`,
		`curl -H 'X-Api-Key: k' -b a=b https://api.example.com`:                                                         `callers set themselves: "Cookie"`,
		`curl -b a=b https://api.example.com`:                                                                           "only cookies",
		`curl -H 'Authorization: Xyzzy plugh' https://api.example.com`:                                                  "whole value of the header",
		`curl -u k:X https://api.example.com`:                                                                           "fixed password",
		`curl -u api:k https://api.example.com`:                                                                         "fixed user name",
		`curl -u 4f3c2b1a9d8e7f60:k https://api.example.com`:                                                            "only identifies an account",
		`curl -u c:k -d grant_type=client_credentials https://api.example.com/oauth/token`:                              "only the token request",
	} {
		definition, err := draftFrom(command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		text, _ := definition.YAML()
		if plain := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "#", "")), " "); !strings.Contains(plain, want) {
			t.Errorf("the definition from %s has no note %q:\n%s", command, want, text)
		}
	}
}

func TestNames(t *testing.T) {
	for host, want := range map[string]string{
		"api.sendgrid.com": "sendgrid Sendgrid", "oauth2.googleapis.com": "googleapis Googleapis", "api.acme-corp.co.uk": "acme-corp Acme-corp",
		"x.com": "x X", "127.0.0.1": "provider Provider", "localhost": "provider Provider", "api.9gag.com": "9gag 9gag",
	} {
		if id, name := draft.Name(host); id+" "+name != want {
			t.Errorf("the name for %s is %s %s, want %s", host, id, name, want)
		}
	}
}

// TestDefinition compares a whole definition, because people read it.
func TestDefinition(t *testing.T) {
	const want = `# Drafted from a curl command. Add a description, documentation_url, and where people find
# each value.
id: acme
display_name: Acme
allowed_hosts: [api.acme.test]
auth_methods:
  - id: api_key
    display_name: API key
    # The statuses with which the API refuses a wrong key: try one.
    rejected_statuses: [401]
    fields:
      - id: api_key
        display_name: API key
        required: true
        secret: true
      - id: client_id
        display_name: Client ID
        required: true
        secret: false
    # Headers of the command that callers set themselves: "X-Region".
    headers:
      - {name: X-Api-Key, value: "${api_key}"}
      - {name: Acme-Version, value: "2024-01-31", only_if_absent: true}
      - {name: Client-Id, value: "${client_id}"}
    # Whether a new key ends the old one: OVERLAPPING, REVOKES_PREVIOUS or UNKNOWN.
    rotation: UNKNOWN
    # The request of the command: choose one that changes nothing, costs little, and
    # succeeds only with a valid key.
    verification:
      url: https://api.acme.test/v1/me?verbose=1
      answers:
        - {statuses: [200], json: {}, outcome: ACCEPTED}
        - {statuses: [401], json: {}, outcome: REFUSED}
        - statuses: [403]
          outcome: INCONCLUSIVE
          explanation: The key may be right, but lack the permission for this request.
`
	definition := fromCurl(t, `curl https://API.acme.test:443/v1/me?verbose=1 -H 'Acme-Version: 2024-01-31' -H 'X-Api-Key: k' -H 'X-Region: eu' -H 'Client-Id: 7'`)
	text, err := definition.YAML()
	if err != nil || string(text) != want {
		t.Errorf("the definition is (%v)\n%s\nwant\n%s", err, text, want)
	}
}
