package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/pemfile"
)

// clockSkew is how far in the future the claim iat of a JWT may be.
const clockSkew = time.Minute

var jwtPattern = regexp.MustCompile(`[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`)

// verificationKey returns the key that verifies JWTs which the account's key signs.
func verificationKey(definition *catalog.JWT, values variables) (any, error) {
	text, set, err := definition.Key.Evaluate(values)
	if err == nil && !set {
		err = errors.New("the key of the JWT needs a field that is not set")
	}
	if err != nil || !definition.IsSymmetric() {
		if err != nil {
			return nil, err
		}
		return pemfile.PublicKey("the key of the JWT", []byte(text))
	}
	switch definition.KeyEncoding {
	case "HEX":
		return hex.DecodeString(text)
	case "BASE64":
		return base64.StdEncoding.DecodeString(text)
	default:
		return []byte(text), nil
	}
}

// textsOf returns the parts of a request that can contain a JWT, as they are and decoded.
func textsOf(r *http.Request, body []byte) string {
	var texts strings.Builder
	_, password, _ := r.BasicAuth()
	for _, text := range []string{r.URL.Path, r.URL.RawQuery, string(body), password} {
		decoded, _ := url.QueryUnescape(text)
		_, _ = io.WriteString(&texts, text+"\n"+decoded+"\n")
	}
	_ = r.Header.Write(&texts)
	return texts.String()
}

// withJWT returns the values with each JWT in a text that is valid for these values.
func (a *Account) withJWT(definition *catalog.JWT, values variables, text string) (all []variables) {
	for _, candidate := range jwtPattern.FindAllString(text, -1) {
		if a.isValidJWT(definition, candidate, values) {
			all = append(all, values.with(variables{catalog.JWTVariable: candidate}))
		}
	}
	return all
}

// isValidJWT checks the signature, the header and the claims of a JWT.
func (a *Account) isValidJWT(definition *catalog.JWT, text string, values variables) bool {
	parts := strings.Split(text, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || !a.isSigned(definition, text) {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var times struct{ IAT, EXP json.Number }
	err = json.Unmarshal(payload, &times)
	issued, _ := times.IAT.Int64()
	expires, _ := times.EXP.Int64()
	now, span := a.clock.Now(), time.Duration(expires-issued)*time.Second
	return err == nil &&
		!time.Unix(issued, 0).After(now.Add(clockSkew)) && now.Before(time.Unix(expires, 0)) &&
		(span-definition.Lifetime-definition.Backdate).Abs() < time.Second && // both claims are rounded down
		hasMembers(header, definition.Header, values, map[string]any{"alg": definition.Algorithm, "typ": "JWT"}) &&
		hasMembers(payload, definition.Claims, values, nil, "iat", "exp", "jti")
}

// isSigned verifies the signature of a JWT.
func (a *Account) isSigned(definition *catalog.JWT, text string) bool {
	parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(definition.Algorithm)})
	if err != nil {
		return false
	}
	secret, symmetric := a.key.([]byte)
	if !symmetric {
		_, err = parsed.Verify(a.key)
		return err == nil
	}
	// Package jose refuses secrets that are shorter than the digest, but some providers have such secrets.
	hashes := map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}
	mac := hmac.New(hashes[definition.Algorithm], secret)
	_, _ = io.WriteString(mac, text[:strings.LastIndexByte(text, '.')])
	return hmac.Equal(mac.Sum(nil), parsed.Signatures[0].Signature)
}

// hasMembers reports whether a JSON object has the members of a definition, the default members that the
// definition does not have, and otherwise only members with the given names, which must be present.
func hasMembers(text []byte, definition map[string]any, values variables, defaults map[string]any, present ...string) bool {
	decoded, err := jsonpath.Decode(text)
	got, isObject := decoded.(map[string]any)
	evaluated, _, failure := expression.EvaluateValue(definition, values)
	if err != nil || failure != nil || !isObject {
		return false
	}
	want := map[string]any{}
	maps.Copy(want, defaults)
	maps.Copy(want, evaluated.(map[string]any))
	for name, value := range got {
		if _, expected := want[name]; !expected && slices.Contains(present, name) {
			want[name] = value
		}
	}
	return equalJSON(decoded, want) && !slices.ContainsFunc(present, func(name string) bool { return got[name] == nil })
}
