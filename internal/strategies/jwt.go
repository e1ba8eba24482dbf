package strategies

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/pemfile"
)

// signJWT returns a JWT that is valid from `now`, a wall-clock time.
func signJWT(definition *catalog.JWT, values map[string]string, now time.Time) (string, []ValueProblem) {
	key, problems := signingKey(definition, values)
	if problems != nil {
		return "", problems
	}
	claims, header, err := unsignedJWT(definition, values, now)
	if err != nil {
		return "", problemsOf(err)
	}
	algorithm, _ := jwa.LookupSignatureAlgorithm(definition.Algorithm) // the definition allows only known algorithms
	signed, err := jws.Sign(claims, jws.WithKey(algorithm, key, jws.WithProtectedHeaders(header)))
	if err != nil {
		return "", problemsOf(errors.New("the JWT cannot be signed with this key"))
	}
	return string(signed), nil
}

// checkJWT returns the problems that prevent signing a JWT. It signs nothing, which takes long with some
// kinds of keys.
func checkJWT(definition *catalog.JWT, values map[string]string) []ValueProblem {
	_, problems := signingKey(definition, values)
	if _, _, err := unsignedJWT(definition, values, time.Time{}); err != nil {
		problems = append(problems, problemsOf(err)...)
	}
	return problems
}

// unsignedJWT returns the claims, in JSON, and the header of a JWT.
func unsignedJWT(definition *catalog.JWT, values map[string]string, now time.Time) ([]byte, jws.Headers, error) {
	claims, err := evaluateObject(definition.Claims, values)
	if err != nil {
		return nil, nil, err
	}
	claims["iat"] = now.Add(-definition.Backdate).Unix()
	claims["exp"] = now.Add(definition.Lifetime).Unix()
	claims["jti"] = rand.Text()
	header, err := evaluateObject(definition.Header, values)
	if err != nil {
		return nil, nil, err
	}
	protected := jws.NewHeaders()
	if _, set := header["typ"]; !set {
		header["typ"] = "JWT"
	}
	for name, value := range header {
		if err := protected.Set(name, value); err != nil {
			return nil, nil, fmt.Errorf("the header %q of the JWT cannot have this value", name)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, nil, errors.New("the claims of the JWT cannot be encoded")
	}
	return payload, protected, nil
}

func evaluateObject(object map[string]any, values map[string]string) (map[string]any, error) {
	evaluated, _, err := expression.EvaluateValue(object, values)
	if err != nil {
		return nil, err
	}
	return evaluated.(map[string]any), nil
}

// signingKey returns the key in the form that package jws expects.
func signingKey(definition *catalog.JWT, values map[string]string) (any, []ValueProblem) {
	field := onlyField(definition.Key)
	text, set, err := definition.Key.Evaluate(values)
	switch {
	case err != nil:
		return nil, []ValueProblem{problem(field, "%s", err)}
	case !set:
		return nil, []ValueProblem{problem("", "the key of the JWT needs a field that is not set")}
	case definition.IsSymmetric():
		key, err := decodeSecret(definition.KeyEncoding, text)
		if err != nil {
			return nil, []ValueProblem{problem(field, "%s", err)}
		}
		return key, nil
	}
	key, err := pemfile.PrivateKey("", []byte(text))
	if err == nil {
		err = checkKind(definition.Algorithm, key)
	}
	if err != nil {
		return nil, []ValueProblem{problem(field, "%s", err)}
	}
	return key, nil
}

func decodeSecret(encoding, text string) (key []byte, err error) {
	switch encoding {
	case "HEX":
		key, err = hex.DecodeString(text)
	case "BASE64":
		key, err = base64.StdEncoding.DecodeString(text)
	default:
		key = []byte(text)
	}
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("the value is not a secret in the encoding %s", encoding)
	}
	return key, nil
}

// checkKind checks that a key is of the kind that the algorithm needs (RFC 7518, section 3.1, and RFC
// 8037).
func checkKind(algorithm string, key crypto.Signer) error {
	curves := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
	needed := "an RSA key"
	switch algorithm[:2] {
	case "ES":
		needed = "an EC key of the curve " + curves[algorithm]
	case "Ed":
		needed = "an Ed25519 key"
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if algorithm[0] == 'E' {
			return fmt.Errorf("the key is an RSA key, but the algorithm %s needs %s", algorithm, needed)
		}
		if key.N.BitLen() < 2048 {
			return errors.New("the RSA key has less than 2048 bits: make a longer key")
		}
	case *ecdsa.PrivateKey:
		if curve := key.Curve.Params().Name; curves[algorithm] != curve {
			return fmt.Errorf("the key is an EC key of the curve %s, but the algorithm %s needs %s", curve, algorithm, needed)
		}
	case ed25519.PrivateKey:
		if algorithm != "EdDSA" {
			return fmt.Errorf("the key is an Ed25519 key, but the algorithm %s needs %s", algorithm, needed)
		}
	default:
		return errors.New("the key is of an unsupported kind")
	}
	return nil
}
