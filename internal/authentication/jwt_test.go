package authentication_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

func bearer(token string) authentication.Evidence {
	return authentication.Evidence{Bearer: secret.New(token)}
}

func TestJWT(t *testing.T) {
	jwt := newJWT(t, fileIssuer("main", keyRS, keyES, keyEd))
	for name, token := range map[string]string{
		"RS256":                    mint(keyRS, nil, nil),
		"ES256":                    mint(keyES, nil, nil),
		"EdDSA":                    mint(keyEd, nil, nil),
		"without a key ID":         mint(keyES, map[string]any{"kid": nil}, nil),
		"the other audience":       mint(keyES, nil, map[string]any{"aud": "other-broker"}),
		"one of several audiences": mint(keyES, nil, map[string]any{"aud": []string{"nobody", "broker"}}),
		"valid since 29 s from":    mint(keyES, nil, map[string]any{"nbf": now.Unix() + 29, "iat": now.Unix() + 29}),
	} {
		caller, err := jwt.Authenticate(t.Context(), bearer(token))
		want := access.Caller{Name: "jwt:main:alice", ExpireTime: now.Add(time.Hour + 30*time.Second).Local()}
		if caller.ExpireTime = caller.ExpireTime.Local(); err != nil || !reflect.DeepEqual(caller, want) {
			t.Errorf("%s: the caller is %+v (%v), want %+v", name, caller, err, want)
		}
	}
}

func TestJWTRefused(t *testing.T) {
	const (
		noToken   = "the bearer token is not a signed JSON Web Token"
		algorithm = "the bearer token is signed with an algorithm that is not accepted"
		noKey     = "the bearer token is signed with an unknown key"
		signature = "the signature of the bearer token is wrong"
		expired   = "the bearer token has expired"
		early     = "the bearer token is not valid yet"
		audience  = "the bearer token is for another audience"
		noIssuer  = "the bearer token has an issuer that is not accepted"
		claim     = "the bearer token lacks a required claim, or has one that is not accepted"
		subject   = "the claim sub of the bearer token is missing, or cannot be a caller's name"
	)
	none := authtest.Unsigned("es")
	good := mint(keyES, nil, nil)
	parts := strings.Split(good, ".")
	publicKey, _ := json.Marshal(keyRS.Public)
	claims := func(name string, value any) string { return mint(keyES, nil, map[string]any{name: value}) }
	jwt := newJWT(t, fileIssuer("main", keyRS, keyES, keyES2))
	for name, test := range map[string]struct{ token, message string }{
		"no token":             {malformed, noToken},
		"one part":             {"abc", noToken},
		"two parts":            {parts[0] + "." + parts[1], noToken},
		"four parts":           {good + ".a", noToken},
		"a part of no base64":  {parts[0] + "." + "=" + parts[1] + "." + parts[2], noToken},
		"no JSON":              {keyES.Assemble([]byte(`{"alg":"ES256","kid":"es"}`), []byte("alice")), noToken},
		"no JSON as header":    {keyES.Assemble([]byte(`ES256`), []byte("{}")), noToken},
		"JSON serialisation":   {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, noToken},
		"too long":             {strings.Repeat("a", 8<<10+1), "the bearer token is too long"},
		"none":                 {mint(none, nil, nil), algorithm},
		"None":                 {mint(none, map[string]any{"alg": "None"}, nil), noToken},
		"no algorithm":         {mint(none, map[string]any{"alg": nil}, nil), noToken},
		"HMAC with public key": {mint(keyRS.BySecret(string(publicKey)), nil, nil), algorithm},
		"another type of key":  {mint(keyES, map[string]any{"kid": "rs"}, nil), noKey},
		"unknown key":          {mint(keyUnknown, nil, nil), noKey},
		"empty key ID of two":  {mint(keyES, map[string]any{"kid": ""}, nil), noKey},
		"another's key":        {mint(keyES, map[string]any{"kid": "es2"}, nil), signature},
		"a key of its own":     {mint(keyUnknown, map[string]any{"kid": "es", "jwk": keyUnknown.Public, "jku": "https://evil.test"}, nil), signature},
		"no signature":         {parts[0] + "." + parts[1] + ".", noToken},
		"other claims":         {parts[0] + "." + strings.Split(claims("sub", "root"), ".")[1] + "." + parts[2], signature},
		"critical header":      {mint(keyES, map[string]any{"crit": []string{"x"}, "x": 1}, nil), signature},
		"expired 30 s ago":     {claims("exp", now.Unix()-30), expired},
		"no expiry":            {claims("exp", nil), claim},
		"expires at 0":         {claims("exp", 0), expired},
		"expiry in words":      {claims("exp", "tomorrow"), signature},
		"valid in 31 s":        {claims("nbf", now.Unix()+31), early},
		"issued in 31 s":       {claims("iat", now.Unix()+31), early},
		"another audience":     {claims("aud", "nobody"), audience},
		"no audience":          {claims("aud", nil), audience},
		"part of the audience": {claims("aud", "brok"), audience},
		"another issuer":       {claims("iss", "https://evil.test"), noIssuer},
		"issuer with a slash":  {claims("iss", "https://issuer.test/"), noIssuer},
		"no issuer":            {claims("iss", nil), noIssuer},
		"issuer in capitals":   {mint(keyES, nil, authtest.Claims{"iss": nil, "ISS": "https://issuer.test"}), claim},
		"issuer a list":        {claims("iss", []string{"https://issuer.test"}), noToken},
		"no subject":           {claims("sub", nil), subject},
		"empty subject":        {claims("sub", ""), subject},
		"subject a number":     {claims("sub", 7), signature},
		"subject of two lines": {claims("sub", "a\nb"), subject},
		"subject in reverse":   {claims("sub", "a\u202eb"), subject},
		"a long subject":       {claims("sub", strings.Repeat("a", 2049)), subject},
		"a subject of spaces":  {claims("sub", "  "), subject},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := jwt.Authenticate(t.Context(), bearer(test.token))
			if err == nil {
				t.Fatalf("the caller is %s", caller.Name)
			}
			wantRefused(t, err, fault.CallerUnauthenticated, test.message)
		})
	}
	for name, token := range map[string]string{"nothing": "", "a static token": authentication.GenerateToken().Reveal()} {
		if _, err := jwt.Authenticate(t.Context(), bearer(token)); !errors.Is(err, authentication.ErrNoEvidence) {
			t.Errorf("%s: the error is %v, want ErrNoEvidence", name, err)
		}
	}
}

func TestJWTWithoutIssuers(t *testing.T) {
	if _, err := newJWT(t).Authenticate(t.Context(), bearer(mint(keyES, nil, nil))); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("the error is %v, want ErrNoEvidence", err)
	}
}

// The token in TestJWTOfKubernetes is like those that the Kubernetes API server issues to pods.
func TestJWTOfKubernetes(t *testing.T) {
	issuer := fileIssuer("cluster", keyRS.With(map[string]any{"use": "sig", "alg": "RS256"}))
	issuer.Issuer, issuer.Audiences = "https://kubernetes.default.svc.cluster.local", []string{"authmaterial-broker"}
	token := mint(keyRS, nil, map[string]any{
		"iss": "https://kubernetes.default.svc.cluster.local",
		"aud": []string{"authmaterial-broker"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 3607, "jti": "9f1c6a5e-8d1e-4d8a-9a53-0c1f6f1d3b57",
		"sub": "system:serviceaccount:growth:mailer",
		"kubernetes.io": map[string]any{
			"namespace":      "growth",
			"node":           map[string]any{"name": "node-1", "uid": "6d0f"},
			"pod":            map[string]any{"name": "mailer-7c5d", "uid": "5f5e"},
			"serviceaccount": map[string]any{"name": "mailer", "uid": "77aa"},
			"warnafter":      now.Unix() + 3607,
		},
	})
	caller, err := newJWT(t, issuer).Authenticate(t.Context(), bearer(token))
	if err != nil || caller.Name != "jwt:cluster:system:serviceaccount:growth:mailer" {
		t.Errorf("the caller is %q (%v)", caller.Name, err)
	}
}

// TestJWTOfSeveralIssuers checks tokens of two clusters with the same claim "iss", and of an issuer
// that accepts only one algorithm.
func TestJWTOfSeveralIssuers(t *testing.T) {
	strict := fileIssuer("strict", keyRS, keyEd)
	strict.Issuer, strict.Algorithms = "https://strict.test", []string{"EdDSA"}
	jwt := newJWT(t, fileIssuer("one", keyES), fileIssuer("two", keyES2), strict)
	ofStrict := map[string]any{"iss": "https://strict.test"}
	for token, want := range map[string]string{
		mint(keyES, nil, nil):      "jwt:one:alice",
		mint(keyES2, nil, nil):     "jwt:two:alice",
		mint(keyEd, nil, ofStrict): "jwt:strict:alice",
	} {
		if caller, err := jwt.Authenticate(t.Context(), bearer(token)); err != nil || caller.Name != want {
			t.Errorf("the caller is %q (%v), want %q", caller.Name, err, want)
		}
	}
	_, err := jwt.Authenticate(t.Context(), bearer(mint(keyRS, nil, ofStrict)))
	wantRefused(t, err, fault.CallerUnauthenticated, "the bearer token is signed with an algorithm that is not accepted")
	_, err = jwt.Authenticate(t.Context(), bearer(mint(keyES, map[string]any{"kid": "es2"}, nil)))
	wantRefused(t, err, fault.CallerUnauthenticated, "the signature of the bearer token is wrong")
}

// TestJWTEnds checks that a remembered token expires by the broker's clock, and is refused as soon
// as its issuer or its key is removed.
func TestJWTEnds(t *testing.T) {
	clock := clockwork.NewFakeClockAt(now)
	jwt := newJWTWith(t, authentication.KeyOptions{Clock: clock})
	use := jwt.use
	token := mint(keyES, nil, nil)
	good := func() error {
		_, err := jwt.Authenticate(t.Context(), bearer(token))
		return err
	}
	use(fileIssuer("a", keyES))
	for range 2 {
		if err := good(); err != nil {
			t.Fatal(err)
		}
	}
	use(fileIssuer("a", keyES2))
	wantRefused(t, good(), fault.CallerUnauthenticated, "the bearer token is signed with an unknown key")
	use(fileIssuer("a", keyES2, keyES))
	if err := good(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour + 29*time.Second)
	if err := good(); err != nil {
		t.Errorf("a token that expired within the leeway is refused: %v", err)
	}
	clock.Advance(time.Second)
	wantRefused(t, good(), fault.CallerUnauthenticated, "the bearer token has expired")
	use()
	if err := good(); !errors.Is(err, authentication.ErrNoEvidence) {
		t.Errorf("the error without issuers is %v, want ErrNoEvidence", err)
	}
}

func TestParseKeys(t *testing.T) {
	const (
		noSet   = "is not a JSON Web Key Set of up to 1 MiB and 1000 keys"
		noKey   = "contains no key that can verify tokens: supported are RSA keys of 2048 bits or more, and keys of the types P-256, P-384, P-521 and Ed25519"
		private = "contains a private or symmetric key, with which everybody who reads it could sign tokens: leave only public keys in it"
	)
	small := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2047), big.NewInt(1))
	unknown := authtest.Key{ID: "u", Public: map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}}
	for name, test := range map[string]struct {
		data []byte
		err  string
	}{
		"one key":               {authtest.KeySet(keyES), ""},
		"with an unknown one":   {authtest.KeySet(unknown, keyES), ""},
		"with one of other use": {authtest.KeySet(keyES2.With(map[string]any{"use": "enc"}), keyES), ""},
		"a byte order mark":     {append([]byte("\ufeff"), authtest.KeySet(keyES)...), ""},
		"nothing":               {nil, noSet},
		"no JSON":               {[]byte("canary"), noSet},
		"a list":                {[]byte("[]"), noSet},
		"an empty object":       {[]byte("{}"), noSet},
		"no keys":               {authtest.KeySet(), ""},
		"keys that are null":    {[]byte(`{"keys": null}`), noSet},
		"an unknown one alone":  {authtest.KeySet(unknown), noKey},
		"for encryption":        {authtest.KeySet(keyES.With(map[string]any{"use": "enc"})), noKey},
		"for signing":           {authtest.KeySet(keyES.With(map[string]any{"key_ops": []string{"sign"}})), noKey},
		"of another algorithm":  {authtest.KeySet(keyRS.With(map[string]any{"alg": "ES256"})), noKey},
		"small RSA":             {authtest.KeySet(keyRS.With(map[string]any{"n": authtest.Encode(small.Bytes())})), noKey},
		"X25519":                {authtest.KeySet(keyEd.With(map[string]any{"crv": "X25519"})), noKey},
		"private":               {authtest.KeySet(keyES, keyES2.With(map[string]any{"d": authtest.Encode(append(make([]byte, 31), 1))})), private},
		"private, other use":    {authtest.KeySet(keyES, keyES2.With(map[string]any{"use": "enc", "d": authtest.Encode(append(make([]byte, 31), 1))})), private},
		"symmetric, other use":  {authtest.KeySet(keyES, authtest.Key{ID: "oct", Public: map[string]any{"kty": "oct", "use": "enc", "k": "Y2FuYXJ5"}}), private},
		"symmetric":             {authtest.KeySet(keyES, authtest.Key{ID: "oct", Public: map[string]any{"kty": "oct", "k": "Y2FuYXJ5"}}), private},
	} {
		keys, err := authentication.ParseKeys(test.data)
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err || (keys == nil) != (err != nil) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.err)
		}
	}
}

// FuzzJWT checks that only the issuer's tokens identify a caller. Two texts count as the same token
// if they differ only in padding, or in bits that base64 does not use.
func FuzzJWT(f *testing.F) {
	jwt := newJWT(f, fileIssuer("a", keyRS, keyES, keyEd))
	good := map[string]bool{}
	for _, k := range []authtest.Key{keyRS, keyES, keyEd} {
		token := mint(k, nil, nil)
		good[token] = true
		f.Add(token)
		f.Add(token + "==")
		f.Add(mint(k, map[string]any{"alg": "none"}, nil))
		f.Add(strings.Replace(token, ".", "..", 1))
	}
	f.Add(mint(keyUnknown, map[string]any{"kid": "es"}, nil))
	f.Fuzz(func(t *testing.T, token string) {
		caller, err := jwt.Authenticate(t.Context(), bearer(token))
		switch {
		case err == nil && (caller.Name != "jwt:a:alice" || !good[canonical(token)]):
			t.Errorf("the token %q identifies the caller %s", token, caller.Name)
		case err != nil && token != "" && !strings.HasPrefix(token, "amb_"):
			wantRefused(t, err, fault.CallerUnauthenticated, "")
		}
	})
}

func canonical(token string) string {
	parts := strings.Split(token, ".")
	for i, part := range parts {
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
		if err != nil {
			return token
		}
		parts[i] = authtest.Encode(data)
	}
	return strings.Join(parts, ".")
}
