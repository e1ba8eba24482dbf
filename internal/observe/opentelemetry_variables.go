package observe

import (
	"bytes"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/regularfile"
)

// These are the prefixes of the exporter's variables. A variable with the second prefix overrides
// the variable with the first prefix and the same ending.
const (
	otlpPrefix       = "OTEL_EXPORTER_OTLP_"
	otlpTracesPrefix = "OTEL_EXPORTER_OTLP_TRACES_"
)

// variable is an environment variable that OpenTelemetry reads, with a check of its value.
type variable struct {
	name  string
	must  string // the rule for the value, such as "the value must be true or false"
	valid func(value string) bool
	// The field `needed` marks variables that decide where traces go and how they are protected. If
	// a needed variable is invalid, no traces are sent. If another variable is invalid,
	// OpenTelemetry uses a default.
	needed bool
}

// checkVariables logs the invalid variables, and reports whether traces can be sent. Invalid
// variables that have a default are unset, because OpenTelemetry panics at some invalid values, and
// prints others. Overridden variables are unset too, because OpenTelemetry would read the files
// that they name.
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
			logger.Warn("traces are not sent because of an environment variable",
				"variable", v.name, "problem", v.must)
		default:
			_ = os.Unsetenv(v.name)
			v.logIgnored(logger)
		}
	}
	return all
}

func (v variable) logIgnored(logger *slog.Logger) {
	logger.Warn("an environment variable of OpenTelemetry is ignored", "variable", v.name, "problem", v.must)
}

// overridden reports whether a variable has no effect because the corresponding variable for traces
// is set.
func (v variable) overridden() bool {
	name, general := strings.CutPrefix(v.name, otlpPrefix)
	return general && !strings.HasPrefix(v.name, otlpTracesPrefix) && firstSet(otlpTracesPrefix+name) != ""
}

const (
	// maxMilliseconds is one hour, the longest time that a variable may set.
	maxMilliseconds = 3_600_000
	// maxSpans limits the memory for spans that have not been sent yet.
	maxSpans = 100_000
	// These are the maximum sizes of files, in bytes.
	maxCertificates = 1 << 20
	maxKey          = 64 << 10
)

func variables() []variable {
	milliseconds, number := isNumber(1, maxMilliseconds), isNumber(1, maxSpans)
	all := []variable{
		{"OTEL_TRACES_SAMPLER", "the value must be a sampler of OpenTelemetry, such as parentbased_traceidratio", isSampler, false},
		{"OTEL_TRACES_SAMPLER_ARG", "the value must be a ratio from 0 to 1", isRatio, false},
		{"OTEL_RESOURCE_ATTRIBUTES", "the value must be key=value pairs, percent-encoded, separated by commas", isPairs, false},
		{"OTEL_BSP_SCHEDULE_DELAY", "the value must be a number of milliseconds", milliseconds, false},
		{"OTEL_BSP_EXPORT_TIMEOUT", "the value must be a number of milliseconds", milliseconds, false},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "the value must be a number from 1 to 100000", number, false},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "the value must be a number from 1 to 100000", number, false},
	}
	for _, prefix := range []string{otlpPrefix, otlpTracesPrefix} {
		certificate, key := prefix+"CLIENT_CERTIFICATE", prefix+"CLIENT_KEY"
		all = append(all,
			variable{prefix + "ENDPOINT", "the value must be a URL such as http://collector:4318", isEndpoint, true},
			variable{prefix + "PROTOCOL", "the value must be grpc or http/protobuf", isProtocol, true},
			variable{prefix + "CERTIFICATE", "the value must be the path of a file with certificates in PEM", isCertificateFile, true},
			variable{certificate, "the value must be the path of a certificate in PEM, and this variable must name the file of its key: " + key, isKeyPairWith(key), true},
			variable{key, "this variable must be set together with the variable of its certificate: " + certificate, isBeside(certificate), true},
			variable{prefix + "HEADERS", "the value must be name=value pairs, percent-encoded, separated by commas", isPairs, true},
			variable{prefix + "INSECURE", "the value must be true or false", isBool, true},
			variable{prefix + "COMPRESSION", "the value must be gzip or none", isCompression, false},
			variable{prefix + "TIMEOUT", "the value must be a number of milliseconds", milliseconds, false})
	}
	for _, limit := range []string{
		"ATTRIBUTE_VALUE_LENGTH", "ATTRIBUTE_COUNT", "SPAN_ATTRIBUTE_VALUE_LENGTH", "SPAN_ATTRIBUTE_COUNT",
		"SPAN_EVENT_COUNT", "EVENT_ATTRIBUTE_COUNT", "SPAN_LINK_COUNT", "LINK_ATTRIBUTE_COUNT",
	} {
		all = append(all, variable{"OTEL_" + limit + "_LIMIT", "the value must be a number", isNumber(0, 1<<31-1), false})
	}
	return all
}

// Where a pattern begins with `(?i)`, OpenTelemetry does not distinguish upper and lower case.
var (
	isSampler     = regexp.MustCompile(`(?i)^(parentbased_)?(always_on|always_off|traceidratio)$`).MatchString
	isProtocol    = regexp.MustCompile(`^(grpc|http/protobuf)$`).MatchString
	isBool        = regexp.MustCompile(`(?i)^(true|false)$`).MatchString
	isCompression = regexp.MustCompile(`^(gzip|none)$`).MatchString
)

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

// isEndpoint reports whether an exporter for the selected protocol can send to this endpoint. The
// scheme is optional for gRPC.
func isEndpoint(value string) bool {
	parsed, err := url.Parse(value)
	if err != nil || protocol() == "grpc" {
		return err == nil
	}
	return (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != ""
}

// protocol returns the name of the exporter's protocol, or an empty string for the default protocol.
func protocol() string { return firstSet(otlpTracesPrefix+"PROTOCOL", otlpPrefix+"PROTOCOL") }

func isPairs(value string) bool {
	for pair := range strings.SplitSeq(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(text); !found || err != nil || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}

func isCertificateFile(path string) bool {
	data, ok := readPEM(path, maxCertificates)
	_, err := pemfile.Pool(path, data)
	return ok && err == nil
}

// isKeyPairWith returns a function that reports whether the path is that of a certificate file, and
// the file that keyVariable names contains the private key of the certificate.
func isKeyPairWith(keyVariable string) func(string) bool {
	return func(path string) bool {
		keyPath := firstSet(keyVariable)
		data, dataOK := readPEM(path, maxCertificates)
		key, keyOK := readPEM(keyPath, maxKey)
		certificates, err := pemfile.Certificates(path, data)
		if !dataOK || !keyOK || err != nil {
			return false
		}
		_, err = pemfile.KeyPair(certificates, keyPath, key)
		return err == nil
	}
}

// isBeside returns a function that reports whether the other variable is set.
func isBeside(other string) func(string) bool {
	return func(string) bool { return firstSet(other) != "" }
}

// readPEM returns the content of a regular file of up to `limit` bytes. The result is false for a
// file with a byte order mark, because OpenTelemetry, which reads the file again, would ignore the
// first PEM block of such a file.
func readPEM(path string, limit int64) ([]byte, bool) {
	data, err := regularfile.Read(path, limit)
	return data, err == nil && !bytes.HasPrefix(data, []byte("\ufeff"))
}
