package secretfmt_test

import (
	"path/filepath"
	"testing"

	// Because this file imports the packages that testdata imports, their modules stay in go.mod
	// and are downloaded before the test. The test itself loads testdata without a network.
	_ "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/analysis/analysistest"
	_ "google.golang.org/grpc/status"
	_ "google.golang.org/protobuf/encoding/protojson"
	_ "google.golang.org/protobuf/encoding/prototext"

	_ "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/lint/secretfmt"
)

// TestAnalyzer uses the real generated messages, so that it also fails if a change of the generated
// code breaks the rule.
func TestAnalyzer(t *testing.T) {
	module, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	analysistest.Run(t, module, secretfmt.Analyzer,
		"./internal/lint/secretfmt/testdata/findings",
		"./internal/lint/secretfmt/testdata/clean",
	)
}
