// Package protoc only tests that the tools of other programming languages compile the published
// protos.
package protoc

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

const howToInstall = "as root on Debian: apt-get install protobuf-compiler libprotobuf-dev protobuf-compiler-grpc protobuf-compiler-grpc-java-plugin"

// TestOldTools compiles the protos with the protoc on PATH and gRPC's plugins. Debian 12 has protoc
// 3.21, which does not know the option debug_redact, and plugins for C++, Ruby and PHP that abort
// at a dollar sign in a comment.
func TestOldTools(t *testing.T) {
	protoc := find(t, "protoc")
	for language, count := range map[string]int{
		"cpp": 6, "csharp": 3, "java": 4, "objc": 6, "php": 4, "python": 3, "ruby": 3,
	} {
		t.Run(language, func(t *testing.T) {
			compile(t, count, protoc, "--"+language+"_out=")
		})
	}
	for _, plugin := range []string{"grpc_cpp_plugin", "grpc_java_plugin", "grpc_php_plugin", "grpc_python_plugin", "grpc_ruby_plugin"} {
		t.Run(plugin, func(t *testing.T) {
			compile(t, 1, protoc, "--grpc_out=", "--plugin=protoc-gen-grpc="+find(t, plugin))
		})
	}
}

// compile runs protoc with an output flag to which it appends a folder, and checks that protoc
// writes at least the wanted number of files into this folder.
func compile(t *testing.T, atLeast int, protoc, output string, more ...string) {
	t.Helper()
	files, err := filepath.Glob("../../../proto/authmaterial/v1/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no protos were found: %v", err)
	}
	for _, file := range files { // reading the files makes `go test` run the test again when a proto has changed
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	args := slices.Concat([]string{"-I", "../../../proto", output + out}, more, files)
	said, err := exec.CommandContext(t.Context(), protoc, args...).CombinedOutput()
	if err != nil || len(said) > 0 {
		t.Fatalf("%v: %v\n%s", args, err, said)
	}
	made := 0
	err = filepath.WalkDir(out, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			made++
		}
		return err
	})
	if err != nil || made < atLeast {
		t.Errorf("%d files were generated, want at least %d: %v", made, atLeast, err)
	}
}

func find(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not on PATH; install it, %s", name, howToInstall)
	}
	return path
}
