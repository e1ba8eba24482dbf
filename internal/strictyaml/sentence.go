package strictyaml

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// notAllowed is said where nothing better is known.
const notAllowed = "is not allowed here"

// sentence says what a value must be. It shows what the schema holds and how much
// there is, never the value.
func sentence(found jsonschema.ErrorKind, at *node) string {
	switch found := found.(type) {
	case *kind.Enum:
		return choice(found.Want, at)
	case *kind.Pattern:
		return "must match " + found.Want
	case *kind.MinLength:
		if found.Got == 0 {
			return "must not be empty"
		}
		return "must have at least " + count(found.Want, "character")
	case *kind.MaxLength:
		return "must have at most " + count(found.Want, "character")
	case *kind.MinItems:
		return "must have at least " + count(found.Want, "item")
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %s, and has %d", count(found.Want, "item"), found.Got)
	case *kind.MinProperties:
		return "must have at least " + count(found.Want, "key")
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %s, and has %d", count(found.Want, "key"), found.Got)
	case *kind.Minimum:
		return "must be at least " + decimal(found.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(found.Want)
	}
	return notAllowed
}

// typeSentence says which type a value must have, and which it has.
func typeSentence(want []string, at *node) string {
	wanted := make([]string, len(want))
	for i, name := range want {
		wanted[i] = typeNames[name]
	}
	must := "must be " + strings.Join(wanted, " or ")
	switch {
	case at.shape == number && strings.Contains(must, typeNames["integer"]):
		return must
	case strings.Contains(must, typeNames["string"]) && (at.shape == number || at.shape == boolean):
		return must + ", and is " + at.shape.String() + ": put it in quotes"
	}
	return must + ", and is " + at.shape.String()
}

// typeNames are the types of JSON Schema as an author of YAML knows them.
var typeNames = map[string]string{
	"null":    "empty",
	"boolean": "true or false",
	"integer": "a whole number",
	"number":  "a number",
	"string":  "a string",
	"array":   "a list",
	"object":  "a mapping",
}

// keySentence says why a node is no key.
func keySentence(key *node) string {
	return "a key " + typeSentence([]string{"string"}, key)
}

// choice says which values are allowed.
func choice(allowed []any, at *node) string {
	shown := make([]string, len(allowed))
	for i, value := range allowed {
		encoded, err := json.Marshal(value)
		if err != nil {
			return notAllowed
		}
		shown[i] = string(encoded)
	}
	must := "must be "
	if len(shown) > 1 {
		must += "one of "
	}
	must += strings.Join(shown, ", ")
	if at.shape == null {
		must += ", and is empty"
	}
	return must
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func decimal(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	float, _ := n.Float64()
	return strconv.FormatFloat(float, 'g', -1, 64)
}
