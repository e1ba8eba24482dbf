package secretfmt_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// secretFields are the fields of authmaterial.v1 that contain a secret. In the proto file, the
// comment of each such field contains the sentence "Secret.".
var secretFields = []protoreflect.FullName{
	"authmaterial.v1.CreateSignInLinkResponse.url",
	"authmaterial.v1.FieldValue.value",
	"authmaterial.v1.Header.value",
	"authmaterial.v1.QueryParam.value",
}

// TestSecretFields checks that secretFields agrees with the comments in the proto file, and that
// all listed fields exist.
func TestSecretFields(t *testing.T) {
	for _, name := range secretFields {
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil {
			t.Errorf("the field %s of secretFields does not exist: %v: update secretFields", name, err)
		}
	}
	if marked := markedFields(t); !slices.Equal(marked, secretFields) {
		t.Errorf("the proto's comments mark %v as secret, want %v", marked, secretFields)
	}
}

// TestTheProtoHasNoNewOptions checks that protoc 3.21 and ghz, which do not know the option
// debug_redact, can read the proto files.
func TestTheProtoHasNoNewOptions(t *testing.T) {
	for path, text := range protoFiles(t) {
		if regexp.MustCompile(`debug_redact|features\.|edition`).MatchString(text) {
			t.Errorf("%s has an option that older compilers do not know", path)
		}
	}
}

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{$`)
	fieldLine   = regexp.MustCompile(`^  (?:repeated )?[\w.]+ (\w+) = \d+;$`)
	secretLine  = regexp.MustCompile(`^  // (?:.* )?Secret\.(?: |$)`)
)

func markedFields(t *testing.T) []protoreflect.FullName {
	t.Helper()
	var marked []protoreflect.FullName
	for _, text := range protoFiles(t) {
		var message string
		secret := false
		for _, line := range strings.Split(text, "\n") {
			if found := messageLine.FindStringSubmatch(line); found != nil {
				message = found[1]
			}
			if found := fieldLine.FindStringSubmatch(line); found != nil && secret {
				marked = append(marked, protoreflect.FullName("authmaterial.v1."+message+"."+found[1]))
			}
			isComment := strings.HasPrefix(line, "  //")
			secret = secretLine.MatchString(line) || secret && isComment
		}
	}
	slices.Sort(marked)
	return marked
}

func protoFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../../proto/authmaterial/v1/*.proto")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no protos were found: %v", err)
	}
	texts := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	return texts
}
