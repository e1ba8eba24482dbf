package leaktest_test

import (
	"fmt"
	"strings"
)

// slips are what can be wrong where a secret stands at the end of the credentials.
func (w *world) slips() (all []string) {
	odd := w.canary("a secret with a slip")
	plain := w.know("a secret without signs", strings.NewReplacer("+", "", "/", "", "=", "", `"`, "", `\`, "", "%", "", "&", "", "<", "").Replace(odd))
	for _, source := range []string{
		"{value: @" + odd + "}", "{value: \"" + plain + "}", "{value: " + plain, plain, "{" + plain + ": x}", "{value: {" + plain + ": x}}",
		"[" + plain + "]", "{env: " + plain + "}", "{file: " + plain + "}", "{file: /" + plain + "}", "{value: *" + plain + "}",
		"{value: &" + plain + " x}", "{value: !" + plain + " x}", "{value: |\n" + plain + "}", "{value: '" + plain + "\n\t'}",
		"{value: " + inYAML(odd+"\u0001") + "}", "{value: " + inYAML("é"+odd) + "}", "{value: " + inYAML(odd+" ") + "}", "{vlaue: " + plain + "}",
		"{value: " + plain + ", value: " + plain + "}", "{value: \"\\" + plain + "\"}", "{file: .}", "{value: 0x" + fmt.Sprintf("%x", plain) + "}",
	} {
		all = append(all, "  - {id: slip, provider: pendo, auth_method: api_key, values: {api_key: "+source+"}}\n")
	}
	w.write("not-a-key", odd)
	return append(all,
		"token_cache: {fleet_keys: [{file: not-a-key}]}\n", "token_cache: {fleet_keys: ["+plain+"]}\n",
		"  - "+plain+"\n", plain+": x\n", plain+"\n", "\t"+plain+": x\n", "--- "+plain+"\n", "%"+plain+"\n",
		"authentication: {tokens: [{name: a, sha256: "+inYAML(odd)+"}]}\n", "authentication: {tokens: ["+plain+"]}\n",
		"  - {id: "+plain+", provider: pendo, auth_method: api_key, values: {api_key: {value: x}}}\n",
		"listen: {tls: {certificate_file: not-a-key, key_file: not-a-key}}\n", "listen: {tls: {certificate_file: broker.key, key_file: broker.pem}}\n",
		"listen: {tls: {certificate_file: broker.pem, key_file: not-a-key, client_ca_file: broker.key}}\n",
	)
}

// checkSlips has the command line read them.
func checkSlips(w *world) {
	w.Helper()
	for i, slip := range w.slips() {
		text := w.configs["socket.yaml"] + slip
		if name, _, found := strings.Cut(slip, ":"); found && strings.Contains(text, "\n"+name+": ") && !strings.HasPrefix(slip, " ") {
			text = slip + "credentials: []\n" // else it stands twice
		}
		w.write("slip.yaml", text)
		for _, args := range [][]string{{"check"}, {"serve"}, {"check", "--explain", "local", "static"}} {
			flags := append([]string{args[0], "--config", w.path("slip.yaml")}, args[1:]...)
			if out, code := w.run("broker "+args[0], flags...); code != 1 {
				w.Errorf("%v of slip %d ends with %d:\n%s", args, i, code, out)
			}
		}
	}
}
