package draft_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/curlcommand"
	"github.com/authmaterial/broker/internal/draft"
)

// FuzzFromCurl checks that no text for a shell makes the packages panic, and that a definition has
// no problem, and contains no value of the command that looks like a secret.
func FuzzFromCurl(f *testing.F) {
	const marker, secret = "KEY", "c4n4ry0123456789Zq"
	for _, example := range examples {
		f.Add(example.command)
		f.Add(strings.ReplaceAll(example.command, "made", marker))
	}
	for _, example := range tokenExamples {
		f.Add(example.command)
	}
	f.Add(`curl https://api.example.com/KEY?KEY=KEY -H 'X-Api-Key: KEY' -H 'Authorization: Token token="KEY"' -u KEY:KEY -d KEY`)
	f.Add("curl -d 'client_id=KEY&client_secret=KEY&grant_type=client_credentials&scope=KEY&audience=KEY' https://a.test/KEY")
	f.Add("curl $'https://a.test/\\u4e00\\x41' -H \"X-Auth: $(echo KEY)${KEY}`id`\"")
	f.Fuzz(func(t *testing.T, text string) {
		commands, err := curlcommand.Parse(strings.ReplaceAll(text, marker, secret))
		var definition *draft.Definition
		if err == nil {
			definition, err = draft.FromCurl(commands)
		}
		var yaml []byte
		if err == nil && !named(commands, secret) {
			yaml, err = definition.YAML()
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error contains a secret: %v", err)
		}
		if strings.Contains(string(yaml), secret) {
			t.Errorf("the definition contains a secret:\n%s", yaml)
		}
	})
}

// named reports whether a secret is in the name of something, which is no secret.
func named(commands []*curlcommand.Command, secret string) bool {
	var names []string
	for _, command := range commands {
		names = append(names, command.URL.Host)
		for _, list := range [][]curlcommand.Pair{command.Headers, command.Query, command.Body.Form} {
			for _, pair := range list {
				names = append(names, pair.Name)
			}
		}
		for name := range command.Body.JSON {
			names = append(names, name)
		}
	}
	return strings.Contains(strings.ToLower(strings.Join(names, "\n")), strings.ToLower(secret))
}
