package secretfmt_test

import (
	"path/filepath"
	"testing"

	// The code in testdata imports these packages. The imports here keep the packages' modules
	// in go.mod, so that the modules are downloaded before the test, which loads testdata
	// without a network.
	_ "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/analysis/analysistest"
	_ "google.golang.org/grpc/status"
	_ "google.golang.org/protobuf/encoding/protojson"
	_ "google.golang.org/protobuf/encoding/prototext"

	_ "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/lint/secretfmt"
)

// TestAnalyzer uses the generated messages, so that it also fails when the generated code changes.
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
