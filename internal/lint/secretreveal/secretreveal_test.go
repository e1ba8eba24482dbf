package secretreveal_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/authmaterial/broker/internal/lint/secretreveal"
)

// TestAnalyzer uses the real type secret.Text, so that it also fails if the method Reveal gets
// another name, and checks two packages that may reveal secrets.
func TestAnalyzer(t *testing.T) {
	module, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	analysistest.Run(t, module, secretreveal.Analyzer,
		"./internal/lint/secretreveal/testdata/findings",
		"./internal/lint/secretreveal/testdata/allowed",
		"./internal/rpc",
		"./internal/strategies",
	)
}
