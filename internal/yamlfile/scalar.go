package yamlfile

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// FreeText returns a string of at least `least` and at most `most` characters; `least` is 0 or 1.
func (v Value) FreeText(least, most int) string {
	if !v.is(isString) {
		return ""
	}
	switch count := utf8.RuneCountInString(v.node.Value); {
	case count < least:
		v.Problemf("must not be empty")
	case count > most:
		v.Problemf("must have at most %d characters, and has %d", most, count)
	default:
		return v.node.Value
	}
	return ""
}

// MaxText is the largest number of characters of a text that has no smaller limit.
const MaxText = 4096

// Text returns a string of 1 to `most` characters. Text reports a string that contains `${`,
// because an expression in this string would not be evaluated.
func (v Value) Text(most int) string { return v.literal(1, most) }

func (v Value) literal(least, most int) string {
	text := v.FreeText(least, most)
	if offset := strings.Index(text, "${"); offset >= 0 {
		v.ProblemAtf(offset, "`${` is not evaluated here and would be used as it is written: write the text that is meant")
	}
	return text
}

// Match returns a string, and reports a problem with the given message if the string does not match
// the pattern.
func (v Value) Match(pattern *regexp.Regexp, message string) string {
	if v.is(isString) && !pattern.MatchString(v.node.Value) {
		v.document.refuse(v.node, "%s", message)
	}
	if !v.is(isString) {
		return ""
	}
	return v.node.Value
}

// OneOf returns a string, which must be one of the allowed strings.
func (v Value) OneOf(allowed ...string) string {
	text := v.Text(MaxText)
	if text == "" || slices.Contains(allowed, text) {
		return text
	}
	v.Problemf("must be one of %s", quote(allowed))
	return ""
}

// Bool returns a boolean, or the argument if the value is absent.
func (v Value) Bool(otherwise bool) bool {
	if !v.is(isBoolean) {
		return otherwise
	}
	return strings.EqualFold(v.node.Value, "true")
}

// Scalar returns a string of at most MaxText characters without `${`, a float64 or a bool. Scalar
// returns nil if the value is absent or is none of these.
func (v Value) Scalar() any {
	if v.node == nil || v.document.refused[v.node] {
		return nil
	}
	switch got := kindOf(v.node); got {
	case isString:
		return v.literal(0, MaxText)
	case isBoolean:
		return v.Bool(false)
	case isNumber:
		number, err := strconv.ParseFloat(v.node.Value, 64)
		if err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
			v.Problemf("must be a decimal number")
			return nil
		}
		return number
	default:
		v.document.refuse(v.node, "must be a string, a number, or true or false, and is %s", got)
		return nil
	}
}

// JSON returns the JSON value that a scalar has: a string, a json.Number, a bool, or nil for a null
// value. JSON returns nil if the value is absent or is no scalar.
func (v Value) JSON() any {
	if v.node == nil || v.document.refused[v.node] {
		return nil
	}
	switch got := kindOf(v.node); got {
	case isNull:
		return nil
	case isNumber:
		if number := json.Number(v.node.Value); json.Valid([]byte(number)) {
			return number
		}
		v.Problemf("must be a decimal number in the form of JSON, such as 5 or 0.5")
		return nil
	default:
		return v.Scalar()
	}
}

// Int returns a whole number from `least` to `most`. In the file, the number can also have a form
// such as 1.0, 1e3, 0o17 or 0xff.
func (v Value) Int(least, most, otherwise int) int {
	if !v.is(isNumber) {
		return otherwise
	}
	number, err := strconv.ParseFloat(v.node.Value, 64)
	if whole, failed := strconv.ParseInt(v.node.Value, 0, 64); failed == nil && strings.ContainsAny(v.node.Value, "xo") {
		number, err = float64(whole), nil
	}
	if err != nil || number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		v.Problemf("must be a whole number from %d to %d", least, most)
		return otherwise
	}
	return int(number)
}

// Duration returns a duration from `least` to `most`. The message about a wrong value contains the
// argument `form`, which gives the two bounds and an example.
func (v Value) Duration(least, most, otherwise time.Duration, form string) time.Duration {
	text := v.Text(MaxText)
	if text == "" {
		return otherwise
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < least || duration > most {
		v.Problemf("must be a duration %s", form)
		return otherwise
	}
	return duration
}

// The method `is` reports whether a value exists and has the wanted kind. A value of another kind
// is a problem.
func (v Value) is(want kind) bool {
	if v.node == nil || v.document.refused[v.node] {
		return false
	}
	got := kindOf(v.node)
	if got != want {
		v.document.refuse(v.node, "%s", mismatch(want, got))
	}
	return got == want
}

// kind is the kind of a value, in the words in which messages name it, such as `a mapping`.
type kind string

const (
	isNull    kind = "empty"
	isBoolean kind = "true or false"
	isNumber  kind = "a number"
	isString  kind = "a string"
	isList    kind = "a list"
	isMapping kind = "a mapping"
)

// These scalars are not strings in the core schema of YAML 1.2 unless they have quotes.
var (
	nulls    = []string{"", "~", "null", "Null", "NULL"}
	booleans = []string{"true", "True", "TRUE", "false", "False", "FALSE"}
	numbers  = regexp.MustCompile(`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|` +
		`[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

func kindOf(node *yaml.Node) kind {
	const plain = yaml.FlowStyle
	switch {
	case node.Kind == yaml.MappingNode:
		return isMapping
	case node.Kind == yaml.SequenceNode:
		return isList
	case node.Style&^plain != 0: // a scalar with quotes or the tag !!str, or a block scalar
		return isString
	case slices.Contains(nulls, node.Value):
		return isNull
	case slices.Contains(booleans, node.Value):
		return isBoolean
	case strings.IndexByte("+-.0123456789", node.Value[0]) >= 0 && numbers.MatchString(node.Value):
		return isNumber
	}
	return isString
}

func mismatch(want, got kind) string {
	message := fmt.Sprintf("must be %s, and is %s", want, got)
	if want == isString && (got == isNumber || got == isBoolean) {
		message += ": put it in quotes"
	}
	return message
}

func quote(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}
