package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/config"
)

const conditional = `credentials: [{id: c, provider: acme, auth_method: m, values: {key: {value: k}}}]
providers:
  - id: acme
    display_name: Acme
    allowed_hosts: [api.example.test]
    auth_methods:
      - id: m
        display_name: M
        rejected_when: [{statuses: [403], headers: {X-A: b}}]
        fields: [{id: key, display_name: Key, required: true, secret: true}]
        headers: [{name: X-Key, value: "${key}"}, {name: X-Version, value: v1}]
`

// TestChangedRulesAreSent changes how a rejection is recognised, and whether a header replaces that of
// the caller's request.
func TestChangedRulesAreSent(t *testing.T) {
	inWorld(t, func(w *world) {
		text := conditional
		change := func(from, to string) {
			w.Helper()
			if !strings.Contains(text, from) {
				w.Fatalf("the configuration has no %s", from)
			}
			text = strings.Replace(text, from, to, 1)
			loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{})
			if err == nil {
				err = w.broker.Use(load(loaded.Credentials, access.AllowAll()))
			}
			if err != nil {
				w.Fatal(err)
			}
			synctest.Wait()
		}
		change("Acme", "Acme Inc.")
		first := w.get("c")
		s := w.watch("c")
		defer s.Close()
		s.wantVersion("c", first.Version)
		for _, condition := range []string{"{statuses: [403], headers: {X-A: c}}", "{statuses: [403]}", "{statuses: [403], json: {}}", "{statuses: [403], json: {a: {not: 1}}}"} {
			at := strings.Index(text, "{statuses")
			change(text[at:at+strings.Index(text[at:], "]\n")], condition)
			if d := s.next(0).Decoration; d.Version != first.Version || len(d.RejectedWhen) != 1 {
				t.Errorf("with the condition %s, the watch sends version %s with %v, want the same version", condition, d.Version, d.RejectedWhen)
			}
		}
		change("value: v1", "value: v1, only_if_absent: true")
		if d := s.next(0).Decoration; d.Version == first.Version || d.Material.Headers[0].OnlyIfAbsent || !d.Material.Headers[1].OnlyIfAbsent {
			t.Error("with only_if_absent, the watch sends the same version, or another header")
		}
	})
}
