package stubs

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

const (
	// languagesVariable has the languages whose programs TestCalls compiles and runs.
	languagesVariable = "STUBS_LANGUAGES"
	trailer           = "authmaterial-error-reason"
	// limit is the time for one language. A first build of the Rust crates takes minutes.
	limit = 10 * time.Minute
)

// programs are the programs that call a broker, by the name that docs/stubs.md has for the language.
var programs = map[string]string{
	"Go":         "go/call.go",
	"Python":     "python/call.py",
	"TypeScript": "typescript/call.ts",
	"Java":       "java/Call.java",
	"C++":        "cpp/call.cc",
	"Ruby":       "ruby/call.rb",
	"Rust":       "rust/src/call.rs",
}

// TestCalls generates stubs, compiles a program with them, and runs the program, which prints the
// headers of one credential and the reason of an error.
func TestCalls(t *testing.T) {
	languages := strings.Fields(os.Getenv(languagesVariable))
	if len(languages) == 0 {
		t.Skipf("%s is not set: run make test-clients CLIENTS=stubs", languagesVariable)
	}
	grpc, http, key := broker(t)
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			stubs, _ := generate(ctx, t, language)
			address, want := grpc, "Authorization: Bearer "+key+"\nCREDENTIAL_NOT_FOUND\n"
			if language == "php" {
				address, want = http, "SendPulse\nPROVIDER_NOT_FOUND\n"
			}
			command := exec.CommandContext(ctx, "./run", language, stubs, address)
			var log strings.Builder
			command.Stderr = &log
			if got, err := command.Output(); err != nil || string(got) != want {
				t.Errorf("./run printed %q, want %q: %v\n%s", got, want, err, &log)
			}
		})
	}
}

// TestDocumentedReasons compares the expressions of docs/stubs.md with the programs. A program can
// print the reason only with this expression, because nothing else in the program names the trailer.
func TestDocumentedReasons(t *testing.T) {
	rows := documentedReasons(t)
	for language, file := range programs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		program := string(text)
		if n := strings.Count(program, trailer); n != 1 {
			t.Errorf("%s names the trailer %d times, want once", file, n)
		}
		for _, expression := range rows[language] {
			if !strings.Contains(program, expression) {
				t.Errorf("%s has no %s, which docs/stubs.md shows for %s", file, expression, language)
			}
		}
		if !strings.Contains(strings.Join(rows[language], "\n"), trailer) {
			t.Errorf("docs/stubs.md shows no expression with %s for %s", trailer, language)
		}
	}
}

// documentedReasons returns the pieces of code in the table of docs/stubs.md, by language.
func documentedReasons(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(repository + "/docs/stubs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## The reason of an error\n")
	if !found {
		t.Fatal("docs/stubs.md has no section `The reason of an error`")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	code := regexp.MustCompile("`([^`]*)`")
	rows := map[string][]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \| (.*) \|$`).FindAllStringSubmatch(section, -1) {
		for _, piece := range code.FindAllStringSubmatch(row[2], -1) {
			rows[row[1]] = append(rows[row[1]], piece[1])
		}
	}
	return rows
}

// broker starts a broker, and returns the addresses of its listeners, and the API key of the
// credential sendpulse-key.
func broker(t *testing.T) (grpc, http, key string) {
	t.Helper()
	sim, err := simulator.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	loaded, err := config.Parse("broker.yaml", simulated.Config, config.Options{LookupEnv: simulated.Environment(sim)})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler), TokenTransport: sim.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	serve := func(on func(net.Listener) error) string {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { served <- on(listener) }()
		return listener.Addr().String()
	}
	grpc, http = serve(broker.ServeGRPC), serve(broker.ServeHTTP)
	t.Cleanup(func() {
		broker.Stop(context.Background())
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("the broker ended with %v", err)
			}
		}
	})
	return grpc, http, sim.SendPulse.APIKey()
}
