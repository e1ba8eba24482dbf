package strictyaml

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Tags that the code asks for.
const (
	integerTag = "!!int"
	stringTag  = "!!str"
)

// coreTags are the tags that may stand in a document, and what they say a node is.
var coreTags = map[string]shape{
	"!!null":   null,
	"!!bool":   boolean,
	integerTag: number,
	"!!float":  number,
	stringTag:  text,
	"!!seq":    sequence,
	"!!map":    mapping,
}

// The numbers of YAML 1.2's core schema.
var (
	integerPattern = regexp.MustCompile(`^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	floatPattern   = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	specialPattern = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// resolve reads a scalar without quotes by the core schema. A number that a float64
// cannot hold is infinite.
func resolve(plain string) (shape, any) {
	switch plain {
	case "", "~", "null", "Null", "NULL":
		return null, nil
	case "true", "True", "TRUE":
		return boolean, true
	case "false", "False", "FALSE":
		return boolean, false
	}
	switch {
	case !strings.ContainsRune("+-.0123456789", rune(plain[0])):
		return text, plain
	case integerPattern.MatchString(plain):
		return number, parseInteger(plain)
	case floatPattern.MatchString(plain):
		float, _ := strconv.ParseFloat(plain, 64) // out of range it is infinite
		return number, float
	case specialPattern.MatchString(plain):
		return number, math.NaN()
	}
	return text, plain
}

// parseInteger returns an int64, or a float64 for what is larger. A leading zero
// does not make a number octal.
func parseInteger(plain string) any {
	base := 10
	if strings.HasPrefix(plain, "0o") || strings.HasPrefix(plain, "0x") {
		base = 0
	}
	integer, err := strconv.ParseInt(plain, base, 64)
	if err == nil {
		return integer
	}
	if base == 0 {
		return math.Inf(1)
	}
	float, _ := strconv.ParseFloat(plain, 64)
	return float
}

// explicitTag returns the tag that stands in the file, or the empty string.
func explicitTag(from *yaml.Node) string {
	if from.Style&yaml.TaggedStyle != 0 || from.Tag == "!" {
		return from.Tag
	}
	return ""
}

// checkTag refuses a node with a tag that is none of the core ones, or not its own.
func (d *Document) checkTag(n *node, tag string) {
	want, core := coreTags[tag]
	_, whole := n.scalar.(int64)
	switch {
	case !core:
		d.refuse(n, tagRefused)
	case n.shape != want || tag == integerTag && !whole:
		d.refuse(n, "does not fit its tag: remove the tag")
	}
}
