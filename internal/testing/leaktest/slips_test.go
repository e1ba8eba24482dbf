package leaktest_test

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
)

// slips returns mistakes in a configuration file, each next to a secret. A mistake is appended to a
// configuration file that ends with the section `credentials`.
func (w *world) slips() (all []string) {
	odd := w.canary("a secret with a slip")
	plain := w.know("a secret without signs", strings.NewReplacer("+", "", "/", "", "=", "", `"`, "", `\`, "", "%", "", "&", "", "<", "").Replace(odd))
	lower := w.know("a secret in small letters", strings.ToLower(plain))
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
	method := func(fields, headers string) string {
		return "providers: [{id: slip, display_name: Slip, allowed_hosts: [a.test], auth_methods: [{id: main, display_name: Main, fields: [" + fields + "], headers: [" + headers + "]}]}]\n"
	}
	const field, constant = "{id: key, display_name: Key}", "{name: X-Key, value: x}"
	return append(all,
		"  - {id: slip, provider: "+plain+", auth_method: api_key, values: {api_key: {value: x}}}\n",
		"  - {id: slip, provider: pendo, auth_method: "+plain+", values: {api_key: {value: x}}}\n",
		"  - {id: "+lower+", provider: pendo, auth_method: api_key, values: {api_key: {value: x}}}\n  - {id: "+lower+", provider: pendo, auth_method: api_key, values: {api_key: {value: x}}}\n",
		method(field, "{name: "+inYAML(odd)+", value: \"${key}\"}"), method(field, "{name: "+plain+", value: \"${key}\"}, {name: "+plain+", value: x}"),
		method("{id: "+plain+", display_name: Key}", constant), method("{id: "+lower+", display_name: Key}, {id: "+lower+", display_name: Key}", constant),
		method(field, "{name: X-Key, value: \"${"+plain+"}\"}"), method(field, "{name: X-Key, value: \"${key "+plain+"}\"}"),
		"token_cache: {fleet_keys: [{file: not-a-key}]}\n", "token_cache: {fleet_keys: ["+plain+"]}\n",
		"  - "+plain+"\n", plain+": x\n", plain+"\n", "\t"+plain+": x\n", "--- "+plain+"\n", "%"+plain+"\n",
		"authentication: {tokens: [{name: a, sha256: "+inYAML(odd)+"}]}\n", "authentication: {tokens: ["+plain+"]}\n",
		"  - {id: "+plain+", provider: pendo, auth_method: api_key, values: {api_key: {value: x}}}\n",
		"listen: {tls: {certificate_file: not-a-key, key_file: not-a-key}}\n", "listen: {tls: {certificate_file: broker.key, key_file: broker.pem}}\n",
		"listen: {tls: {certificate_file: broker.pem, key_file: not-a-key, client_ca_file: broker.key}}\n",
	)
}

// `suspicious` returns grants that contain a secret by mistake, about which the broker warns.
func (w *world) suspicious() (all []string) {
	secret := w.know("a secret in a grant", strings.ToLower(authentication.GenerateToken().Reveal()))
	for _, grant := range []string{
		`{callers: ["token:` + secret + `"], credentials: [static]}`, `{callers: ["jwt:` + secret + `:x"], credentials: [static]}`,
		`{callers: ["*"], credentials: ["` + secret + `"]}`, `{callers: ["*"], providers: ["` + secret + `"]}`,
	} {
		all = append(all, "grants: ["+grant+"]\ncredentials: []\n")
	}
	return all
}

func checkSlips(w *world) {
	w.Helper()
	for i, text := range w.suspicious() {
		w.write("slip.yaml", text)
		if out, code := w.run("broker check", "check", "--config", w.path("slip.yaml")); code != 0 || !strings.Contains(out, "warning: ") {
			w.Errorf("for the suspicious grant number %d, broker check ended with exit status %d:\n%s", i, code, out)
		}
	}
	for i, slip := range w.slips() {
		text := w.configs["socket.yaml"] + slip
		if name, _, found := strings.Cut(slip, ":"); found && strings.Contains(text, "\n"+name+": ") && !strings.HasPrefix(slip, " ") {
			text = slip + "credentials: []\n" // otherwise the key would appear twice
		}
		w.write("slip.yaml", text)
		for _, args := range [][]string{{"check"}, {"serve"}, {"check", "--explain", "local", "static"}} {
			flags := append([]string{args[0], "--config", w.path("slip.yaml")}, args[1:]...)
			if out, code := w.run("broker "+args[0], flags...); code != 1 {
				w.Errorf("the command %v with mistake number %d in the configuration ended with exit status %d:\n%s", args, i, code, out)
			}
		}
	}
}
