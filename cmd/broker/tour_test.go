package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step is a command of the tour and what it prints.
type step struct{ command, output string }

// readTour returns the steps of docs/tour.md.
func readTour(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "tour.md"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, output, _ := strings.Cut(part, "\n")
			steps = append(steps, step{command, strings.TrimRight(output, "\n")})
		}
	}
	return steps
}

// varying is what differs between two runs: versions and times.
var varying = regexp.MustCompile(`(?m)^version +\S+$|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// TestTour runs the commands of docs/tour.md in one shell, and compares what they print.
func TestTour(t *testing.T) {
	steps := readTour(t)
	if len(steps) < 10 || !strings.HasPrefix(steps[0].command, "cat broker.yaml") {
		t.Fatalf("the tour has %d steps, and does not begin with its configuration file", len(steps))
	}
	folder, err := os.MkdirTemp("", "tour") // short, for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	local := strings.NewReplacer("/run/user/1000", folder)
	if err := os.WriteFile(filepath.Join(folder, "broker.yaml"), []byte(local.Replace(steps[0].output)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const mark = "==== the next step"
	var script strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s'\n", local.Replace(s.command), mark)
	}
	script.WriteString("kill %1 2>/dev/null || kill $!\nwait\n")
	shell := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	shell.Dir = folder
	printed, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("the shell ended with %v:\n%s", err, printed)
	}
	for i, got := range strings.Split(string(printed), mark+"\n")[:len(steps)] {
		got = varying.ReplaceAllString(strings.TrimRight(got, "\n"), "…")
		if want := varying.ReplaceAllString(local.Replace(steps[i].output), "…"); got != want {
			t.Errorf("$ %s\n--- prints\n%s\n--- and the tour has\n%s", steps[i].command, got, want)
		}
	}
}
