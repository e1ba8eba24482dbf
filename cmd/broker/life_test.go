package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// terminalLife is a script that creates, rotates and deletes one credential at a terminal. Words that
// begin with @ are placeholders, whose replacements depend on the auth method and the database.
const terminalLife = `
fill broker.yaml SOCKETS
serve broker.yaml

# A wrong secret is refused before it is stored, and then corrected.
terminal broker credentials create
expect 'Provider: '
types @PROVIDER
@METHOD
expect 'Name: '
types Life
expect 'Description'
types
@WRONG
expect 'first\?'
types y
expect '(refused|inconclusive): '
@ANSWER
leaves 0
exits 0 broker get life

# Rotation: a wrong secret stays stored, and a correct one is activated.
terminal broker credentials rotate life
@WRONG
expect 'first\?'
types y
expect '(refused|inconclusive): '
@REFUSED
leaves 1
exits 0 broker credentials show life
stdout '^version +1$'
terminal broker credentials rotate life
@NEXT
expect 'first\?'
types y
@ACCEPT
expect 'version 3 is active'
leaves 0
exits 0 broker get life

# A canary for some callers, its end, and the roll back.
terminal broker credentials activate life 2 --callers token:nobody*
expect 'version 2 is the canary for token:nobody\*; the others get version 3'
leaves 0
exits 0 broker get life
terminal broker credentials withdraw life
expect 'all callers get version 3'
leaves 0
terminal broker credentials activate life 1
expect 'version 1 is active; version 3 was active before'
leaves 0
exits 0 broker get life

# Disable, delete, restore and destroy.
terminal broker credentials edit life --disable
expect 'changed'
leaves 0
exits 1 broker get life
terminal broker credentials edit life --enable
expect 'changed'
leaves 0
terminal broker credentials delete life
expect 'Delete life \(Life\)'
types y
expect 'deleted'
leaves 0
exits 1 broker get life
terminal broker credentials restore life
expect 'restored; callers get version 1'
leaves 0
exits 0 broker get life
terminal broker credentials destroy life 2
expect 'for good\?'
types y
expect 'the values of version 2 are erased'
leaves 0
terminal broker credentials versions life
expect '3 +not in use'
expect '2 +destroyed'
expect '1 +active'
leaves 0
terminal broker status life
expect 'state'
leaves 0

-- broker.yaml --
listen: {grpc: "unix://$SOCKETS/broker.sock", http: "127.0.0.1:0"}
store:
  keys: [{env: STORE_KEY}]
@STORE
`

// terminalAccount is an account at a simulated provider, as a person types its values.
type terminalAccount struct {
	provider, method string      // the method is empty if the provider has only one method
	fields           [][2]string // pairs of a field ID and the variable with the value
}

var terminalAccounts = map[string]terminalAccount{
	"sendpulse_pair": {"sendpulse", "oauth2_client_credentials", [][2]string{{"client_id", "SENDPULSE_CLIENT_ID"}, {"client_secret", "SENDPULSE_CLIENT_SECRET"}}},
	"sendpulse_key":  {"sendpulse", "api_key", [][2]string{{"api_key", "SENDPULSE_KEY"}}},
	"pulsedive":      {"pulsedive", "", [][2]string{{"api_key", "PULSEDIVE_KEY"}}},
	"pendo":          {"pendo", "", [][2]string{{"api_key", "PENDO_KEY"}}},
	"spotdraft":      {"spotdraft", "", [][2]string{{"client_id", "SPOTDRAFT_CLIENT_ID"}, {"client_secret", "SPOTDRAFT_CLIENT_SECRET"}, {"user_email", ""}}},
}

// script fills in the placeholders of terminalLife. `store` is the content of the section `store`.
func (a terminalAccount) script(store string) string {
	method := ""
	if a.method != "" {
		method = "expect 'Auth method: '\ntypes " + a.method
	}
	answer := "expect 'again\\?'\ntypes y\n" + a.typed("", false) + "\nexpect 'which the provider accepts'"
	accept, refused := "", "expect 'version 2 was not activated'"
	if a.provider == "pulsedive" { // its answer never shows that it accepts a key
		answer = "expect 'again\\?|nevertheless\\?'\ntypes y\n" + a.typed("", false) + "\nexpect 'nevertheless\\?'\ntypes y\nexpect 'created with version 1'"
		accept = "expect 'nevertheless\\?'\ntypes y"
	}
	return strings.NewReplacer("@PROVIDER", a.provider, "@METHOD", method, "@STORE", store, "@ANSWER", answer, "@ACCEPT", accept, "@REFUSED", refused,
		"@WRONG", a.typed("", true), "@NEXT", a.typed("_2", false)).Replace(terminalLife)
}

// typed returns script commands that type a value for each field. The value is in the variable of
// the field, whose name ends with the given suffix. If `wrong` is set, the last value is a wrong
// secret.
func (a terminalAccount) typed(suffix string, wrong bool) string {
	var lines []string
	for i, field := range a.fields {
		value := ""
		if field[1] != "" {
			value = "$" + field[1] + suffix
		}
		if last := i == len(a.fields)-1 || a.fields[i+1][1] == ""; wrong && last && value != "" {
			value = "$WRONG"
		}
		lines = append(lines, fmt.Sprintf("expect '%s[^:\\n]*: '\ntypes %s", field[0], value))
	}
	return strings.Join(lines, "\n")
}

// TestLifeAtTheTerminal runs terminalLife at a pseudo-terminal, for each auth method and both
// databases.
func TestLifeAtTheTerminal(t *testing.T) {
	folder, postgres := t.TempDir(), postgrestest.Start(t)
	for name, account := range terminalAccounts {
		login := fmt.Sprintf("  url: %s\n  user: {env: POSTGRES_USER}\n  password: {env: POSTGRES_PASSWORD}\n", postgres.Database(t))
		for kind, store := range map[string]string{"sqlite": "  url: sqlite://$SOCKETS/broker.db", "postgresql": login} {
			path := filepath.Join(folder, name+"_"+kind+".txtar")
			if err := os.WriteFile(path, []byte(account.script(store)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: folder,
		Setup: func(env *testscript.Env) error {
			env.Setenv("POSTGRES_USER", postgrestest.User)
			env.Setenv("POSTGRES_PASSWORD", postgrestest.Password)
			return newScriptState(env)
		},
		Cmds: scriptCommands, RequireExplicitExec: true, RequireUniqueNames: true,
	})
}
