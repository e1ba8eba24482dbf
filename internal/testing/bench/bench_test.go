package main

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests, or a role of the benchmark in a process that a test started.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		main()
		return
	}
	// With the default of GORACE, each process would take a second longer to end under the race
	// detector.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	m.Run()
}

// `tables` matches the title of each table in the output, and the calls per second in it.
var tables = regexp.MustCompile(`(?m)^(.*), response of (\d+) bytes\n.*\n.*\n *calls per second +(\S+) +(\S+) +(\S+) `)

// `measured` runs the benchmark, and returns the titles of its tables and the whole output.
func measured(t *testing.T, arguments ...string) (titles []string, output string) {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), arguments, nil, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables.FindAllStringSubmatch(out.String(), -1) {
		titles = append(titles, table[1])
		for _, text := range table[2:5] {
			if value, err := strconv.ParseFloat(text, 64); err != nil || !(value > 0) {
				t.Errorf("the table %s contains %q, want a number greater than 0", table[1], text)
			}
		}
	}
	return titles, out.String()
}

// TestMeasuresEachKindOfSetting measures one setting of each kind. `make bench BENCH=-full` measures
// all settings.
func TestMeasuresEachKindOfSetting(t *testing.T) {
	var want, patterns []string
	goals := 0
	for _, s := range oneOfEachKind() {
		want, patterns = append(want, s.name()), append(patterns, regexp.QuoteMeta(s.name()))
		goals += len(s.goal.verdicts([]round{make(round, sideControl+1)}))
	}
	only := "^(" + strings.Join(patterns, "|") + ")$"
	titles, output := measured(t, "-rounds", "1", "-round-duration", "5ms", "-only", only)
	if !slices.Equal(titles, want) {
		t.Errorf("the settings in the output are %q, want %q:\n%s", titles, want, output)
	}
	if got := strings.Count(output, "\ngoal: "); got != goals {
		t.Errorf("the output has %d lines that begin with \"goal:\", want %d:\n%s", got, goals, output)
	}
}

// oneOfEachKind returns settings that differ in more than the number of callers and the size of the
// credential.
func oneOfEachKind() []setting {
	var kinds []setting
	return slices.DeleteFunc(settings(), func(s setting) bool {
		kind := s
		kind.callers, kind.short, kind.goal = 0, false, goal{}
		if slices.Contains([]string{smallKey, mediumKey, largeKey}, s.credential) {
			kind.credential = mediumKey
		}
		if slices.Contains(kinds, kind) {
			return true
		}
		kinds = append(kinds, kind)
		return false
	})
}

// TestMeasuresTheRest runs the measurements that are not comparisons of settings.
func TestMeasuresTheRest(t *testing.T) {
	requireRedis(t)
	_, output := measured(t, "-rounds", "1", "-round-duration", "1ms", "-credentials", "5,50", "-stored", "200")
	for _, want := range []string{
		"until the last of 1000 watchers", `(?m)^existing: median [1-9]\d* µs; missing: median [1-9]\d* µs; (?i:a caller can)`,
		"with Redis, 1 callers", "Redis stopped, 64 callers", "of 1 rounds with a suspended Redis", "How the size of the configuration", `(?m)^SQLite +200 `, `(?m)^PostgreSQL +200 `, "with SQLite, 64 callers",
		`(?m)^SQLite +/credentials `, `(?m)^PostgreSQL +/fleet `, "first visit", "50 open pages",
	} {
		if !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("the output does not contain %q:\n%s", want, output)
		}
	}
}

func TestSettingsHaveNames(t *testing.T) {
	_, output := measured(t, "-list")
	names := strings.Fields(output)
	slices.Sort(names)
	want := len(settings()) + len(parts)
	if len(names) != want || len(slices.Compact(names)) != want {
		t.Errorf("the benchmark printed %d names of %d settings and parts: %q", len(names), want, names)
	}
}

// TestGoals checks the verdicts for three goals: one that is met, one that is missed, and one that
// is missed by less than the difference between two equal servers.
func TestGoals(t *testing.T) {
	var rounds []round
	for _, control := range []float64{0.9, 1, 1, 1.1} {
		rounds = append(rounds, round{{CallsPerSecond: 97, CPU: 2, P99: 1}, {CallsPerSecond: 100, CPU: 1, P99: 1}, {CallsPerSecond: 90, CPU: 1, P99: 1}, {CallsPerSecond: 100 * control, CPU: 1, P99: 1}})
	}
	got := goal{calls: 1, callsEqual: 1, cpu: 1.5, p99: 1.1}.verdicts(rounds)
	want := []string{
		"goal: the ratio of calls per second to do-nothing is ≥ 1.00; measured ratio 0.97: met",
		"goal: the ratio of calls per second to equal options is ≥ 1.00; measured ratio 1.08: met",
		"goal: the ratio of CPU per call, µs to do-nothing is ≤ 1.50; measured ratio 2.00: MISSED",
		"goal: the ratio of latency p99, µs to do-nothing is ≤ 1.10; measured ratio 1.00: met",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the verdicts are %q, want %q", got, want)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInterruptionEndsAllProcesses(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out strings.Builder
	stdout := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "response of") { // all processes run now
			interrupt()
		}
		return out.Write(p)
	})
	err := run(ctx, []string{"-rounds", "1", "-round-duration", "20ms"}, nil, stdout, t.Output())
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("the benchmark returned the error %v, want \"interrupted\"", err)
	}
	if n := strings.Count(out.String(), "response of"); n != 1 {
		t.Errorf("the benchmark printed %d tables, want 1", n)
	}
}

func TestProcessEndsWithItsStandardInput(t *testing.T) {
	stdin, parent := io.Pipe()
	playing := func(ctx context.Context, told task, _ func(any) error) error {
		if told.Callers != 3 {
			t.Errorf("the load process has %d callers, want 3", told.Callers)
		}
		_ = parent.Close()
		<-ctx.Done()
		return ctx.Err()
	}
	go func() { _, _ = io.WriteString(parent, `{"Callers": 3}`) }()
	if err := obey(t.Context(), playing, stdin, io.Discard); err != nil {
		t.Errorf("the benchmark returned the error %v, want none", err)
	}
}

func TestProcessThatFails(t *testing.T) {
	told := task{Sides: []side{{At: endpoint{GRPC: "127.0.0.1:0"}}}, RoundDuration: time.Millisecond}
	err := with(t.Context(), roleLoad, told, func(result) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "run the load process: exit status 1") {
		t.Errorf("the benchmark returned the error %v, want an error that says that the load process failed", err)
	}
}

func TestBadFlags(t *testing.T) {
	for _, arguments := range [][]string{
		{"-rounds", "0"}, {"-round-duration", "-1s"}, {"-credentials", "1,"}, {"-credentials", "0"}, {"-stored", "x"}, {"-only", "("}, {"nonsense"}, {"-nonsense"},
	} {
		if _, err := parseOptions(arguments, io.Discard); err == nil {
			t.Errorf("%q: the error is nil, want an error", arguments)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{5}, spread{5, 5, 5, 5, 5}},
		{[]float64{9, 1, 2}, spread{1, 1, 2, 9, 9}},
		{[]float64{4, 9, 1, 2, 3}, spread{1, 2, 3, 4, 9}},
		{[]float64{4, 9, 1, 2}, spread{1, 1, 3, 9, 9}},
	} {
		var rounds []round
		for _, value := range test.values {
			rounds = append(rounds, round{figures{CPU: value}})
		}
		if got := spreadOf(rounds, func(r round) float64 { return r[0].CPU }); got != test.want {
			t.Errorf("the distribution of the values %v is %v, want %v", test.values, got, test.want)
		}
	}
}
