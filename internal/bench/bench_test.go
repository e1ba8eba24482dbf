package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain plays a role when it is one of the processes that a test starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		main()
		return
	}
	// Each process would otherwise end a second late under the race detector.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	m.Run()
}

// tables finds what is measured first in each table: calls a second, and their ratio.
var tables = regexp.MustCompile(`(?m)^(.*), response of (\d+) bytes, (\d+ callers?)\n.*\n +calls a second +(\S+) +(\S+) +(\S+) `)

func TestPrintsRatios(t *testing.T) {
	requireRedis(t)
	var out strings.Builder
	arguments := []string{"-rounds", "2", "-round-duration", "20ms", "-callers", "1,3", "-credentials", "5,50"}
	if err := run(t.Context(), arguments, nil, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	found := tables.FindAllStringSubmatch(out.String(), -1)
	var settings []string
	for _, table := range found {
		settings = append(settings, table[1]+", "+table[3])
		for _, text := range []string{table[2], table[4], table[5], table[6]} {
			if value, err := strconv.ParseFloat(text, 64); err != nil || !(value > 0) {
				t.Errorf("%s: got %q, want a number greater than 0", table[0], text)
			}
		}
	}
	want := "pendo (static), 1 caller; pendo (static), 3 callers; " +
		"sendpulse-oauth (warm token), 1 caller; sendpulse-oauth (warm token), 3 callers"
	for _, what := range []string{"full chain, audit required", "full chain, audit best_effort", "Redis beside memory", "Redis beside reading it", "Redis stopped"} {
		want += fmt.Sprintf("; sendpulse-oauth (warm token, %s), 1 caller; sendpulse-oauth (warm token, %[1]s), 3 callers", what)
	}
	if got := strings.Join(settings, "; "); got != want {
		t.Errorf("got the settings %q, want %q, in:\n%s", got, want, &out)
	}
	if !regexp.MustCompile(`(?m)^existing: median [1-9]\d* µs; missing: median [1-9]\d* µs; they `).MatchString(out.String()) {
		t.Errorf("the comparison of refusals is missing in:\n%s", &out)
	}
	if got := strings.Count(out.String(), "of 2 stopped rounds"); got != 2 {
		t.Errorf("got %d lines about stopped rounds, want 2, in:\n%s", got, &out)
	}
}

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInterruptionEndsAllProcesses(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out strings.Builder
	stdout := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "pendo") { // all processes run now
			interrupt()
		}
		return out.Write(p)
	})
	err := run(ctx, []string{"-rounds", "1", "-round-duration", "20ms"}, nil, stdout, t.Output())
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("got the error %v, want: interrupted", err)
	}
	if n := strings.Count(out.String(), "response of"); n != 1 {
		t.Errorf("got %d tables, want 1", n)
	}
}

func TestProcessEndsWithItsStandardInput(t *testing.T) {
	stdin, parent := io.Pipe()
	playing := func(ctx context.Context, told task, _ func(any) error) error {
		if told.Callers != 3 {
			t.Errorf("got %d callers, want 3", told.Callers)
		}
		_ = parent.Close()
		<-ctx.Done()
		return ctx.Err()
	}
	go func() { _, _ = io.WriteString(parent, `{"Callers": 3}`) }()
	if err := obey(t.Context(), playing, stdin, io.Discard); err != nil {
		t.Errorf("got the error %v, want none", err)
	}
}

func TestProcessThatFails(t *testing.T) {
	told := task{First: side{At: endpoint{GRPC: "127.0.0.1:0"}}, RoundDuration: time.Millisecond}
	err := with(t.Context(), roleLoad, told, func(result) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the load process: exit status 1") {
		t.Errorf("got the error %v, want that the load process failed", err)
	}
}

func TestBadFlags(t *testing.T) {
	for _, arguments := range [][]string{
		{"-rounds", "0"}, {"-round-duration", "-1s"}, {"-callers", "1,"}, {"-callers", "0"}, {"nonsense"}, {"-nonsense"},
	} {
		if _, err := parseSettings(arguments, io.Discard); err == nil {
			t.Errorf("%q: got no error", arguments)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{5}, spread{5, 5, 5}},
		{[]float64{9, 1, 2}, spread{1, 2, 9}},
		{[]float64{4, 9, 1, 2}, spread{1, 3, 9}},
	} {
		var pairs []pair
		for _, value := range test.values {
			pairs = append(pairs, pair{First: figures{CPU: value}})
		}
		if got := spreadOf(pairs, func(p pair) float64 { return p.First.CPU }); got != test.want {
			t.Errorf("%v: got %v, want %v", test.values, got, test.want)
		}
	}
}
