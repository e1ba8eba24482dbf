// Package stubs only tests that the tools of other programming languages generate stubs from the
// published protos, and that programs call a broker with these stubs.
package stubs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

const howToInstall = "as root on Debian: apt-get install protobuf-compiler libprotobuf-dev protobuf-compiler-grpc protobuf-compiler-grpc-java-plugin"

// TestOldTools generates stubs with the protoc on PATH and gRPC's plugins. Debian 12 has protoc
// 3.21, which does not know the option debug_redact, and plugins for C++, Ruby and PHP that abort
// at a dollar sign in a comment.
func TestOldTools(t *testing.T) {
	protoc, python := find(t, "protoc"), find(t, "grpc_python_plugin")
	protos := protos(t)
	for language, atLeast := range map[string]int{"cpp": 13, "java": 7, "php": 7, "ruby": 4} {
		t.Run(language, func(t *testing.T) {
			folder, said := generate(t.Context(), t, language)
			if want := fmt.Sprintf("%s: %s\n", language, folder); said != want {
				t.Errorf("./generate printed %q, want %q", said, want)
			}
			count(t, folder, atLeast)
		})
	}
	for name, arguments := range map[string][]string{
		"csharp": {"--csharp_out="},
		"objc":   {"--objc_out="},
		"python": {"--python_out=", "--plugin=protoc-gen-grpc=" + python, "--grpc_out="},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			command := []string{"-I", filepath.Join(repository, "proto")}
			for _, argument := range arguments {
				if argument[len(argument)-1] == '=' {
					argument += out
				}
				command = append(command, argument)
			}
			said, err := exec.CommandContext(t.Context(), protoc, slices.Concat(command, protos)...).CombinedOutput()
			if err != nil || len(said) > 0 {
				t.Fatalf("protoc %v: %v\n%s", command, err, said)
			}
			count(t, out, 4)
		})
	}
}

// repository is the folder of the repository, relative to this package.
const repository = "../.."

// generate generates the stubs of a language, and returns their folder and what the script printed.
func generate(ctx context.Context, t *testing.T, language string) (folder, said string) {
	t.Helper()
	out := t.TempDir()
	printed, err := exec.CommandContext(ctx, "./generate", out, language).CombinedOutput()
	if err != nil {
		t.Fatalf("./generate %s %s: %v\n%s", out, language, err, printed)
	}
	return filepath.Join(out, language), string(printed)
}

// protos returns the paths of the protos. Because it reads them and the script, `go test` runs a test
// again when one of them has changed.
func protos(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "proto/authmaterial/v1/*.proto"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no protos were found: %v", err)
	}
	for _, file := range append([]string{"generate"}, files...) {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// count checks that a folder has at least the wanted number of files.
func count(t *testing.T, folder string, atLeast int) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files < atLeast {
		t.Errorf("%d files were generated, want at least %d: %v", files, atLeast, err)
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
