package secretreveal_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/authmaterial/broker/internal/lint/secretreveal"
)

// The findings are made with the real type, so that the test also notices when its method
// has another name. The rest of the module is what the rule is for.
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
