package clientworld_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/clients/vectors"
)

// TestVectorsAreValid parses all vectors.
func TestVectorsAreValid(t *testing.T) { newRunner(t, allVectors(t)) }

func allVectors(t *testing.T) map[string]string {
	t.Helper()
	files, err := vectors.Files()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, text := range files {
		texts[name] = string(text)
	}
	return texts
}

// simple are vectors that the simple client passes, and the rule whose break makes them fail.
var simple = map[string]string{
	"steady-state-makes-no-calls":                 "copies",
	"rejection-is-reported-and-repeated":          "report",
	"copy-is-not-used-after-expiry":               "copies",
	"redirect-to-another-host-loses-the-material": "redirects",
}

func TestAClientPasses(t *testing.T) {
	for name := range simple {
		t.Run(name, func(t *testing.T) {
			if last := newRunner(t, allVectors(t)).runVector(name); last["op"] != "done" {
				t.Errorf("the vector failed: %v", last["why"])
			}
		})
	}
}

func TestAClientThatBreaksARuleFails(t *testing.T) {
	for name, rule := range simple {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, allVectors(t))
			r.breaks = rule
			last := r.runVector(name)
			if last["op"] != "failed" || !strings.Contains(last["why"].(string), "step ") {
				t.Errorf("the last operation is %v, want failed, and a step", last)
			}
			t.Log(last["why"])
		})
	}
}
