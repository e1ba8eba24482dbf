package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

// step is a command on a documentation page, with the output that the page shows for it.
type step struct{ command, output string }

// readSteps returns the commands on a page in docs, with their outputs. A line that begins with
// `> ` continues the command of the line before.
func readSteps(t *testing.T, page string) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, block := range regexp.MustCompile("(?sm)^( *)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		lines := strings.ReplaceAll("\n"+block[2], "\n"+block[1], "\n") // a block in a list is indented
		for _, part := range strings.Split(lines, "\n$ ")[1:] {
			command, output, _ := strings.Cut(part, "\n")
			for strings.HasPrefix(output, "> ") {
				line, rest, _ := strings.Cut(output, "\n")
				command, output = command+"\n"+line[2:], rest
			}
			steps = append(steps, step{command, strings.TrimRight(output, "\n")})
		}
	}
	return steps
}

// varying matches the parts of an output that are different in each run.
var varying = regexp.MustCompile(`(?m)^version +\S+$|, providers: \d+$|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|[0-9a-f]{64}`)

// shortFolder returns a new folder with a path that is short enough for Unix sockets.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "tour")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// patient makes a page's commands wait longer for a broker that starts on a slow machine.
var patient = strings.NewReplacer("broker health ", "broker health --timeout "+patience.String()+" ")

// runSteps runs a page's commands in one shell, and compares the outputs with those on the page.
func runSteps(t *testing.T, folder string, steps []step, local *strings.Replacer) {
	t.Helper()
	const mark = "==== the next step"
	var script strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s'\n", patient.Replace(local.Replace(s.command)), mark)
	}
	script.WriteString("kill %1 2>/dev/null || kill $!\nwait\n")
	shell := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	shell.Dir = folder
	printed, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("the shell failed: %v:\n%s", err, printed)
	}
	for i, got := range strings.Split(string(printed), mark+"\n")[:len(steps)] {
		got = varying.ReplaceAllString(strings.TrimRight(got, "\n"), "…")
		if want := varying.ReplaceAllString(local.Replace(steps[i].output), "…"); got != want {
			t.Errorf("the command %q prints\n%s\nbut the page shows\n%s", steps[i].command, got, want)
		}
	}
}

// TestTour runs the commands on two pages in docs. Each of the pages begins with a configuration
// file.
func TestTour(t *testing.T) {
	for page, atLeast := range map[string]int{"tour.md": 10, "guides/rotate-a-secret.md": 7, "guides/manage-credentials.md": 25} {
		t.Run(page, func(t *testing.T) {
			steps := readSteps(t, page)
			if len(steps) < atLeast || !strings.HasPrefix(steps[0].command, "cat broker.yaml") {
				t.Fatalf("the page has %d steps, want at least %d, of which the first prints broker.yaml", len(steps), atLeast)
			}
			folder := shortFolder(t)
			local := strings.NewReplacer("/run/user/1000", folder)
			file := []byte(local.Replace(steps[0].output) + "\n")
			if err := os.WriteFile(filepath.Join(folder, "broker.yaml"), file, 0o600); err != nil {
				t.Fatal(err)
			}
			runSteps(t, folder, steps, local)
		})
	}
}

// TestSecuring runs the commands of docs/securing.md, with free ports in place of the page's
// ports.
func TestSecuring(t *testing.T) {
	version, err := exec.CommandContext(t.Context(), "openssl", "version").Output()
	if err != nil || strings.HasPrefix(string(version), "OpenSSL 1") || !strings.HasPrefix(string(version), "OpenSSL ") {
		t.Fatalf("this test needs OpenSSL 3 or later, and found %q (%v)", version, err)
	}
	for _, flag := range connectionFlags {
		t.Setenv(variable(flag), "")
	}
	steps := readSteps(t, "securing.md")
	if len(steps) < 15 {
		t.Fatalf("the page has only %d steps", len(steps))
	}
	grpc := processtest.FreeAddress(t)
	local := strings.NewReplacer("127.0.0.1:50051", grpc, "127.0.0.1:9464", processtest.FreeAddress(t),
		"localhost:50051", strings.Replace(grpc, "127.0.0.1", "localhost", 1))
	runSteps(t, shortFolder(t), steps, local)
}

// TestManaging runs the commands of docs/managing.md, with free ports in place of the page's ports.
func TestManaging(t *testing.T) {
	steps := readSteps(t, "managing.md")
	if len(steps) < 8 {
		t.Fatalf("the page has only %d steps", len(steps))
	}
	http := processtest.FreeAddress(t)
	local := strings.NewReplacer("127.0.0.1:9464", http, "serve --data data", "serve --data data --console 127.0.0.1:0 --http "+http)
	runSteps(t, shortFolder(t), steps, local)
}
