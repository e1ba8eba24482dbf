package expression

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/pemfile"
)

// function is a function of strings that returns a string. Its result depends only on its
// arguments. An error must not quote an argument.
type function struct {
	name       string
	parameters []string
	apply      func(arguments []string) (string, error)
}

var functions = []function{
	{"base64", []string{"text"}, pure(func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) })},
	{"json", []string{"text", "path"}, member},
	{"sha256", []string{"text"}, pure(func(text string) string { return hex.EncodeToString(digest([]byte(text))) })},
	{"fingerprint", []string{"key"}, fingerprint},
	{"thumbprint", []string{"certificate"}, thumbprint},
	{"lower", []string{"text"}, pure(strings.ToLower)},
	{"upper", []string{"text"}, pure(strings.ToUpper)},
}

// signatures describes the functions in error messages, and `allowed` describes everything that an
// expression can contain.
var (
	signatures []string
	allowed    string
)

func init() {
	for _, f := range functions {
		signatures = append(signatures, f.name+"("+strings.Join(f.parameters, ", ")+")")
	}
	signatures = append(signatures, "field.orValue(text)")
	last := len(signatures) - 1
	allowed = "fields, quoted text, `+`, " + strings.Join(signatures[:last], ", ") + " and " + signatures[last]
}

// functionError is an error of one of our functions, which quotes no value.
type functionError struct{ message string }

func (e *functionError) Error() string { return e.message }

// takesLines reports whether the arguments of a function usually have several lines.
func takesLines(name string) bool {
	return slices.Contains([]string{"json", "fingerprint", "thumbprint"}, name)
}

func (f function) option() cel.EnvOption {
	parameters := make([]*cel.Type, len(f.parameters))
	for i := range parameters {
		parameters[i] = cel.StringType
	}
	apply := func(values ...ref.Val) ref.Val {
		arguments := make([]string, len(values))
		for i, value := range values {
			arguments[i] = string(value.(types.String))
		}
		result, err := f.apply(arguments)
		if err != nil {
			return types.WrapErr(&functionError{f.name + "(): " + err.Error()})
		}
		return bounded(types.String(result))
	}
	binding := cel.FunctionBinding(apply)
	switch len(parameters) {
	case 1:
		binding = cel.UnaryBinding(func(value ref.Val) ref.Val { return apply(value) })
	case 2:
		binding = cel.BinaryBinding(func(first, second ref.Val) ref.Val { return apply(first, second) })
	}
	return cel.Function(f.name, cel.Overload(f.name+strings.Repeat("_string", len(parameters)), parameters, cel.StringType, binding))
}

func pure(apply func(string) string) func([]string) (string, error) {
	return func(arguments []string) (string, error) { return apply(arguments[0]), nil }
}

func digest(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

// member returns the member of a JSON text at a path, which must be a string, a number or a boolean.
func member(arguments []string) (string, error) {
	path, err := jsonpath.Parse(arguments[1])
	if err != nil {
		return "", errors.New("the path is not valid")
	}
	value, err := jsonpath.Decode([]byte(arguments[0]))
	if err != nil {
		return "", errors.New("the text is not JSON")
	}
	text, ok := jsonpath.Text(path.Find(value))
	if !ok {
		return "", errors.New("the JSON has no text at the path")
	}
	return text, nil
}

// fingerprint returns the SHA-256 of a public key, whose form is a SubjectPublicKeyInfo in DER, in
// base64. The argument is a private or public key in PEM.
// See https://docs.snowflake.com/en/user-guide/key-pair-auth.
func fingerprint(arguments []string) (string, error) {
	key, err := pemfile.PublicKey("", []byte(arguments[0]))
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(digest(der)), nil
}

// thumbprint returns the SHA-256 of a certificate in DER, in base64url without padding: the value of
// the header x5t#S256 of a JWT (RFC 7515, section 4.1.8). The argument is a certificate in PEM.
func thumbprint(arguments []string) (string, error) {
	certificates, err := pemfile.Certificates("", []byte(arguments[0]))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(digest(certificates[0].Raw)), nil
}
