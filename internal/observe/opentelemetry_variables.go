package observe

import (
	"bytes"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/regularfile"
)

// The prefixes of the exporter's variables. A variable with the second prefix overrides the one of
// the same name with the first.
const (
	otlpPrefix       = "OTEL_EXPORTER_OTLP_"
	otlpTracesPrefix = "OTEL_EXPORTER_OTLP_TRACES_"
)

// variable is an environment variable that OpenTelemetry reads, with the check of its value.
type variable struct {
	name  string
	must  string // completes the sentence "the variable must"; it quotes no value
	valid func(value string) bool
	// needed variables decide where traces go, and how they are protected: if one is not valid, no
	// traces are sent. For the others OpenTelemetry has a default.
	needed bool
}

// checkVariables logs the variables that are not valid, and reports whether traces can be sent. It
// unsets a variable that is not valid and has a default, so that OpenTelemetry uses the default:
// for some values OpenTelemetry would panic, and others it would print. It also unsets overridden
// variables, because OpenTelemetry would read the files that they name.
func checkVariables(logger *slog.Logger) bool {
	all := true
	for _, v := range variables() {
		value := firstSet(v.name)
		switch {
		case value == "":
		case v.overridden():
			_ = os.Unsetenv(v.name)
		case v.valid(value):
		case v.needed:
			all = false
			logger.Warn("traces are not sent because of an environment variable", "variable", v.name, "problem", "it must "+v.must)
		default:
			_ = os.Unsetenv(v.name)
			logger.Warn("an environment variable of OpenTelemetry is ignored", "variable", v.name, "problem", "it must "+v.must)
		}
	}
	return all
}

// overridden reports whether the variable for traces alone is set too.
func (v variable) overridden() bool {
	of, general := strings.CutPrefix(v.name, otlpPrefix)
	return general && !strings.HasPrefix(v.name, otlpTracesPrefix) && firstSet(otlpTracesPrefix+of) != ""
}

// variables returns the variables that are checked.
func variables() []variable {
	all := []variable{
		{name: "OTEL_TRACES_SAMPLER", must: "be a sampler that OpenTelemetry defines, such as parentbased_traceidratio", valid: isSampler},
		{name: "OTEL_TRACES_SAMPLER_ARG", must: "be a ratio from 0 to 1", valid: isRatio},
		{name: "OTEL_RESOURCE_ATTRIBUTES", must: "be key=value pairs with commas between them, percent-encoded", valid: isPairs},
	}
	for _, prefix := range []string{otlpPrefix, otlpTracesPrefix} {
		all = append(all,
			variable{prefix + "ENDPOINT", "be a URL such as http://collector:4318", isEndpoint, true},
			variable{prefix + "PROTOCOL", "be grpc or http/protobuf", oneOf("grpc", "http/protobuf"), true},
			variable{prefix + "CERTIFICATE", "be the path of a file with certificates in PEM", isCertificateFile, true},
			variable{prefix + "CLIENT_CERTIFICATE", "be the path of a file in PEM, with that of its key in " + prefix + "CLIENT_KEY", isKeyPairWith(prefix + "CLIENT_KEY"), true},
			variable{prefix + "CLIENT_KEY", "have its certificate beside it, in " + prefix + "CLIENT_CERTIFICATE", isBeside(prefix + "CLIENT_CERTIFICATE"), true},
			variable{prefix + "HEADERS", "be name=value pairs with commas between them, percent-encoded", isPairs, true},
			variable{prefix + "INSECURE", "be true or false", inAnyCase(oneOf("true", "false")), true},
			variable{prefix + "COMPRESSION", "be gzip or none", oneOf("gzip", "none"), false},
			variable{prefix + "TIMEOUT", "be a number of milliseconds", isNumber(1, maxMilliseconds), false})
	}
	for _, name := range []string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"} {
		all = append(all, variable{name, "be a number of milliseconds", isNumber(1, maxMilliseconds), false})
	}
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"} {
		all = append(all, variable{name, "be a number from 1 to 100000", isNumber(1, maxSpans), false})
	}
	for _, name := range []string{
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT",
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
	} {
		all = append(all, variable{name, "be a number", isNumber(0, 1<<31-1), false})
	}
	return all
}

const (
	// maxMilliseconds is an hour.
	maxMilliseconds = 3_600_000
	// maxSpans limits the memory for spans that were not sent yet.
	maxSpans = 100_000
)

func oneOf(values ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(values, value) }
}

// inAnyCase is for values that OpenTelemetry compares without regard to case.
func inAnyCase(valid func(string) bool) func(string) bool {
	return func(value string) bool { return valid(strings.ToLower(value)) }
}

func isNumber(least, most int) func(string) bool {
	return func(value string) bool {
		n, err := strconv.Atoi(value)
		return err == nil && least <= n && n <= most
	}
}

func isRatio(value string) bool {
	ratio, err := strconv.ParseFloat(value, 64)
	return err == nil && 0 <= ratio && ratio <= 1
}

var isSampler = inAnyCase(oneOf("always_on", "always_off", "traceidratio",
	"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"))

// isEndpoint reports whether an exporter for the protocol in use can send there. For gRPC the
// scheme is optional.
func isEndpoint(value string) bool {
	parsed, err := url.Parse(value)
	if err != nil || protocol() == "grpc" {
		return err == nil
	}
	return (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != ""
}

// protocol returns the name of the exporter's protocol; empty: the default.
func protocol() string { return firstSet(otlpTracesPrefix+"PROTOCOL", otlpPrefix+"PROTOCOL") }

// isPairs reports whether a value is a list of pairs with commas between them.
func isPairs(value string) bool {
	for pair := range strings.SplitSeq(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(text); !found || err != nil || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}

// The largest files, in bytes.
const (
	maxCertificates = 1 << 20
	maxKey          = 64 << 10
)

func isCertificateFile(path string) bool {
	data, ok := readPEM(path, maxCertificates)
	if !ok {
		return false
	}
	_, err := pemfile.Pool(path, data)
	return err == nil
}

// isKeyPairWith is for the path of a certificate, whose key's path is in another variable.
func isKeyPairWith(keyVariable string) func(string) bool {
	return func(path string) bool {
		data, ok := readPEM(path, maxCertificates)
		if !ok {
			return false
		}
		certificates, err := pemfile.Certificates(path, data)
		if err != nil {
			return false
		}
		keyPath := firstSet(keyVariable)
		key, ok := readPEM(keyPath, maxKey)
		if !ok {
			return false
		}
		_, err = pemfile.KeyPair(certificates, keyPath, key)
		return err == nil
	}
}

// isBeside is for a variable that counts only where the other is set.
func isBeside(other string) func(string) bool {
	return func(string) bool { return firstSet(other) != "" }
}

// readPEM returns the content of a regular file of up to limit bytes. It returns false for a
// file with a byte order mark: pemfile ignores the mark, but OpenTelemetry, which reads the file
// again, would leave out the first block.
func readPEM(path string, limit int64) ([]byte, bool) {
	data, err := regularfile.Read(path, limit)
	return data, err == nil && !bytes.HasPrefix(data, []byte("\ufeff"))
}
