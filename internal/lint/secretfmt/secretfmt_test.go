package secretfmt_test

import (
	"path/filepath"
	"testing"

	// testdata imports these. Here they keep the modules in go.mod and downloaded:
	// the test loads testdata without a network.
	_ "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/analysis/analysistest"
	_ "google.golang.org/grpc/status"
	_ "google.golang.org/protobuf/encoding/protojson"
	_ "google.golang.org/protobuf/encoding/prototext"

	_ "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/lint/secretfmt"
)

// The findings are made of the real generated messages, so that the test also
// notices when the generator writes them in another way.
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
