package observe_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// No process listens on this endpoint. An exporter connects only when it has spans to send.
const endpoint = "http://127.0.0.1:1"

// environment sets environment variables. environment returns whether traces are sent, and the text
// of the log.
func environment(t *testing.T, variables map[string]string) (sends bool, log string) {
	t.Helper()
	for variable, value := range variables {
		t.Setenv(variable, value)
	}
	var text bytes.Buffer
	traces := observe.Start(t.Context(), "test", slog.New(slog.NewTextHandler(&text, nil)))
	defer traces.Stop()
	return traces != nil, text.String()
}

func TestStart(t *testing.T) {
	authority := authtest.NewAuthority("ca", time.Now())
	pair := authority.IssueLoopback()
	folder := t.TempDir()
	ca, leaf, key, fifo := filepath.Join(folder, "ca"), filepath.Join(folder, "leaf"), filepath.Join(folder, "key"), filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{ca: authority.PEM(), leaf: authtest.CertificatePEM(pair), key: authtest.KeyPEM(pair)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		environment map[string]string
		sends       bool
	}{
		"nothing set":    {},
		"an endpoint":    {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, true},
		"one for traces": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}, true},
		"an exporter":    {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		"over gRPC":      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true},
		"without scheme": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true},
		"none":           {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, false},
		"disabled":       {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, false},
		"not disabled":   {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, true},
		"a sampler":      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "TraceIDRatio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, true},
		"the general one does not count": {map[string]string{
			"OTEL_EXPORTER_OTLP_COMPRESSION": "zip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
		}, true},
		"the general files do not count": {map[string]string{
			"OTEL_EXPORTER_OTLP_CERTIFICATE": fifo, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": ca, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://127.0.0.1:1",
			"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": fifo, "OTEL_EXPORTER_OTLP_CLIENT_KEY": fifo,
			"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": leaf, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": key,
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			sends, log := environment(t, test.environment)
			if sends != test.sends {
				t.Errorf("traces are sent: %v, want %v", sends, test.sends)
			}
			if log != "" {
				t.Errorf("the log has unexpected content: %s", log)
			}
		})
	}
}

// TestUnusableVariables sets one variable to an invalid value. The broker must start, and log the
// variable's name but not its value. If the variable has a default, the broker must use the default
// and send traces.
func TestUnusableVariables(t *testing.T) {
	const otlp = "OTEL_EXPORTER_OTLP_"
	folder := t.TempDir()
	fifo, joined, marked := filepath.Join(folder, "fifo"), filepath.Join(folder, "joined"), filepath.Join(folder, "marked")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	authority := authtest.NewAuthority("ca", time.Now()).PEM()
	for path, text := range map[string][]byte{
		joined: slices.Concat(authority, bytes.TrimSpace(authority), authority), // the END line of the second certificate and the BEGIN line of the third certificate are one line
		marked: slices.Concat([]byte("\ufeff"), authority, authority),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for variable, test := range map[string]struct {
		values []string // invalid values, in addition to the text `canary`
		sends  bool
	}{
		"OTEL_TRACES_EXPORTER":           {values: []string{"console", "zipkin"}},
		"OTEL_SDK_DISABLED":              {sends: true},
		"OTEL_TRACES_SAMPLER":            {sends: true},
		"OTEL_TRACES_SAMPLER_ARG":        {values: []string{"2", "-1", "NaN"}, sends: true},
		"OTEL_RESOURCE_ATTRIBUTES":       {values: []string{"a=%zz" + canary, "=" + canary, "a=b,"}, sends: true},
		otlp + "ENDPOINT":                {values: []string{"http://%zz" + canary, "http://", "localhost:4318", "ftp://" + canary}},
		otlp + "TRACES_ENDPOINT":         {values: []string{"http://%zz" + canary}},
		otlp + "PROTOCOL":                {values: []string{"http/json", "GRPC"}},
		otlp + "TRACES_PROTOCOL":         {},
		otlp + "HEADERS":                 {values: []string{"api-key=%zz" + canary}},
		otlp + "TRACES_HEADERS":          {},
		otlp + "CERTIFICATE":             {values: []string{"opentelemetry_test.go", fifo, "/dev/zero", joined, marked}},
		otlp + "TRACES_CERTIFICATE":      {},
		otlp + "CLIENT_CERTIFICATE":      {values: []string{fifo, "/dev/zero", joined, marked}},
		otlp + "CLIENT_KEY":              {},
		otlp + "INSECURE":                {},
		otlp + "COMPRESSION":             {sends: true},
		otlp + "TIMEOUT":                 {values: []string{"10s", "-1", "99999999999999999999"}, sends: true},
		"OTEL_BSP_SCHEDULE_DELAY":        {values: []string{"-1"}, sends: true},
		"OTEL_BSP_EXPORT_TIMEOUT":        {sends: true},
		"OTEL_BSP_MAX_QUEUE_SIZE":        {values: []string{"-1", "1000000000000"}, sends: true}, // making a channel of such a size panics
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": {values: []string{"-1"}, sends: true},
		"OTEL_SPAN_EVENT_COUNT_LIMIT":    {sends: true},
	} {
		for _, value := range append(test.values, canary) {
			t.Run(variable+" "+value, func(t *testing.T) {
				set := map[string]string{otlp + "TRACES_ENDPOINT": endpoint, variable: value}
				if variable == otlp+"ENDPOINT" {
					delete(set, otlp+"TRACES_ENDPOINT") // this variable would override the general one
				}
				sends, log := environment(t, set)
				if sends != test.sends {
					t.Errorf("traces are sent: %v, want %v", sends, test.sends)
				}
				if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, " variable="+variable+" ") {
					t.Errorf("the log does not name the variable exactly once: %s", log)
				}
				if strings.Contains(log, canary) {
					t.Error("the log quotes the value")
				}
			})
		}
	}
}
