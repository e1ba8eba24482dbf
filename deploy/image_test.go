// Package deploy_test runs the broker with the files in this folder. `make lint-systemd` and `make
// lint-kubernetes` check the same files by the rules of systemd and Kubernetes.
package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one instruction of a Dockerfile, with continued lines joined into one.
type instruction struct{ name, arguments string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var all []instruction
	for line := range strings.Lines(strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, arguments, _ := strings.Cut(line, " ")
		all = append(all, instruction{strings.ToUpper(name), strings.TrimSpace(arguments)})
	}
	return all
}

func named(all []instruction, name string) []string {
	var arguments []string
	for _, one := range all {
		if one.name == name {
			arguments = append(arguments, one.arguments)
		}
	}
	return arguments
}

func lastStage(all []instruction) []instruction {
	last := 0
	for i, one := range all {
		if one.name == "FROM" {
			last = i
		}
	}
	return all[last:]
}

// TestImage checks the security settings in the Dockerfile, without building the image.
func TestImage(t *testing.T) {
	all := dockerfile(t)
	tagged := regexp.MustCompile(`^\S+:([^:/\s]+)( AS \w+)?$`)
	for _, from := range named(all, "FROM") {
		if match := tagged.FindStringSubmatch(from); match == nil || match[1] == "latest" {
			t.Errorf("the Dockerfile has the line FROM %s, want a tag that is not latest", from)
		}
	}
	for _, banned := range []string{"ADD", "ENV", "VOLUME", "EXPOSE", "SHELL"} {
		if found := named(all, banned); found != nil {
			t.Errorf("the Dockerfile has the instruction %s %v, which is not allowed", banned, found)
		}
	}
	if got := named(all, "ARG"); !slices.Equal(got, []string{"VERSION=dev"}) {
		t.Errorf("ARG %v: want only VERSION, because arguments stay in the image's history", got)
	}
	for name, want := range map[string][]string{
		"FROM":       {"gcr.io/distroless/static-debian13:nonroot"},
		"COPY":       {"--from=build /broker /broker"},
		"USER":       {"65532:65532"},
		"ENTRYPOINT": {`["/broker"]`},
		"CMD":        {`["serve", "--config", "/etc/authmaterial/broker.yaml"]`},
		"RUN":        nil,
	} {
		if got := named(lastStage(all), name); !slices.Equal(got, want) {
			t.Errorf("the last stage of the Dockerfile has the instruction %s %q, want %q", name, got, want)
		}
	}
}

func TestImageIsBuiltWithTheModulesGo(t *testing.T) {
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	if from := named(dockerfile(t), "FROM")[0]; !strings.HasPrefix(from, "golang:"+want+"-") {
		t.Errorf("the Dockerfile builds with the image %s, but go.mod requires Go %s", from, want)
	}
}

// TestImageContext checks that the image's build context contains only the files that the
// Dockerfile copies.
func TestImageContext(t *testing.T) {
	want := []string{"*"}
	for _, path := range copied(t) {
		want = append(want, "!"+path)
	}
	var got []string
	for line := range strings.Lines(read(t, "Dockerfile.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Dockerfile.dockerignore has %q, want %q", got, want)
	}
}

func copied(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, arguments := range named(dockerfile(t), "COPY") {
		words := strings.Fields(arguments)
		if !strings.HasPrefix(words[0], "--from=") {
			paths = append(paths, words[:len(words)-1]...)
		}
	}
	return paths
}

// buildImageBinary copies the files that the Dockerfile copies, runs its last RUN command on them,
// and returns the path of the built program.
func buildImageBinary(t *testing.T) string {
	t.Helper()
	source, binary := t.TempDir(), filepath.Join(t.TempDir(), "broker")
	for _, path := range copied(t) {
		copyTo(t, filepath.Join(source, path), filepath.Join("..", path))
	}
	runs := named(dockerfile(t), "RUN")
	line := strings.Replace(runs[len(runs)-1], "-o /broker ", "-o "+binary+" ", 1)
	build := exec.CommandContext(t.Context(), "sh", "-ec", line)
	build.Dir = source
	build.Env = append(os.Environ(), "VERSION=1.2.3", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, output)
	}
	return binary
}

// copyTo copies a file or folder.
func copyTo(t *testing.T, to, from string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, onlyShipped{os.DirFS(from)})
	} else {
		err = os.WriteFile(to, []byte(read(t, from)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// onlyShipped is a file system without test files and testdata folders, which may change while this
// test runs.
type onlyShipped struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (o onlyShipped) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	return slices.DeleteFunc(entries, func(entry fs.DirEntry) bool {
		return entry.Name() == "testdata" || strings.HasSuffix(entry.Name(), "_test.go")
	}), err
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
