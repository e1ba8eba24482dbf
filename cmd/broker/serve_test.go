package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEnvironmentOfAllProcesses sets variables that a platform may set for every process. The
// broker must serve even if it cannot use a variable, and log the variable's name, without its
// value, in a warning.
func TestEnvironmentOfAllProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte(`listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const canary = "canary-77"
	for _, variable := range []string{
		"OTEL_TRACES_EXPORTER=console", "OTEL_TRACES_EXPORTER=" + canary, "OTEL_RESOURCE_ATTRIBUTES=" + canary,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://%zz" + canary, "OTEL_EXPORTER_OTLP_PROTOCOL=" + canary,
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/" + canary, "OTEL_TRACES_SAMPLER=" + canary, "OTEL_BSP_MAX_QUEUE_SIZE=-1",
	} {
		name, _, _ := strings.Cut(variable, "=")
		t.Run(variable, func(t *testing.T) {
			environment := append(os.Environ(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1", variable)
			if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
				environment = append(os.Environ(), variable)
			}
			p, err := startProcess("", environment, "broker", "serve", "--config", path)
			if err != nil {
				t.Fatal(err)
			}
			defer p.kill()
			if _, err := p.await(&p.stderr, regexp.MustCompile(`msg=serving `)); err != nil {
				t.Fatalf("%v\n%s", err, p.stderr.String())
			}
			if log := p.stderr.String(); !strings.Contains(log, " variable="+name+" ") || strings.Contains(log, canary) {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}
