package authentication_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// `besides` contains entries of JSON Web Key Sets that cannot verify signatures. The field `place`
// is how the list of ignored keys names the entry; `place` is empty if the list does not name the
// entry.
var besides = map[string]struct{ entry, place string }{
	"unknown type":      {`{"kty":"AKP","kid":"bad","alg":"ML-DSA-44","pub":"AA"}`, `number 1, kid "bad"`},
	"unknown curve":     {`{"kty":"EC","kid":"bad","crv":"secp256k1","x":"AA","y":"AA"}`, `number 1, kid "bad"`},
	"off its curve":     {`{"kty":"EC","kid":"bad","crv":"P-256","x":"AA","y":"AA"}`, `number 1, kid "bad"`},
	"Ed448":             {`{"kty":"OKP","kid":"bad","crv":"Ed448","x":"AA"}`, `number 1, kid "bad"`},
	"small RSA":         {`{"kty":"RSA","kid":"bad","n":"AQAB","e":"AQAB"}`, `number 1, kid "bad"`},
	"not base64":        {`{"kty":"RSA","kid":"bad","n":"?","e":"AQAB"}`, `number 1, kid "bad"`},
	"kid is a number":   {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":1}`, `number 1`},
	"unknown algorithm": {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"new"}`, `number 1`},
	"an empty object":   {`{}`, `number 1`},
	"null":              {`null`, `number 1`},
	"a text":            {`"canary"`, `number 1`},
	"a list":            {`[]`, `number 1`},
	"for encryption":    {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"enc"}`, ""},
}

// `beside` returns a JSON Web Key Set with two entries: the given entry, and the given key. The key
// set begins with a byte order mark.
func beside(entry string, k authtest.Key) []byte {
	return []byte("\ufeff" + strings.Replace(string(authtest.KeySet(k)), "[", "["+entry+",", 1))
}

// TestBadKeyBesideAGoodOne checks key sets that contain an unusable key and a good key. The
// position of the unusable key is reported, and tokens that the good key signed are accepted,
// whether the key set comes from a file or from a URL.
func TestBadKeyBesideAGoodOne(t *testing.T) {
	for name, test := range besides {
		t.Run(name, func(t *testing.T) {
			keys, err := authentication.ParseKeys(beside(test.entry, keyES))
			if err != nil {
				t.Fatal(err)
			}
			places, count := keys.Ignored()
			if got := strings.Join(places, "; "); got != test.place || count != len(places) {
				t.Errorf("the ignored keys are %q (%d), want %q", got, count, test.place)
			}
			issuer := fileIssuer("main")
			issuer.Keys = keys
			if _, err := newJWT(t, issuer).Authenticate(t.Context(), bearer(mint(keyES, nil, nil))); err != nil {
				t.Errorf("a token is refused although its key is in a file: %v", err)
			}
			r := newRemote(t, func(server *authtest.KeyServer, _ *authentication.Issuer, _ *authentication.KeyOptions) {
				server.Does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(beside(test.entry, keyES)) })
			})
			r.wantGood(keyES)
			wantIgnored(t, r, test.place != "")
		})
	}
}

// TestManyKeys checks that at most 10 ignored keys are reported, and at most 1,000 keys accepted.
func TestManyKeys(t *testing.T) {
	set := func(n int) []byte { return beside(strings.TrimSuffix(strings.Repeat("{},", n-1), ","), keyES) }
	keys, err := authentication.ParseKeys(set(1000))
	if err != nil {
		t.Fatal(err)
	}
	if places, count := keys.Ignored(); len(places) != 10 || count != 999 || places[9] != "number 10" {
		t.Errorf("the positions that are reported for %d ignored keys are %q", count, places)
	}
	const many = "is not a JSON Web Key Set of up to 1 MiB and 1000 keys"
	if _, err := authentication.ParseKeys(set(1001)); err == nil || err.Error() != many {
		t.Error(err)
	}
	two := []byte(strings.TrimSuffix(strings.TrimPrefix(string(set(900)), "\ufeff"), "}"))
	two = append(append(two, ','), two[1:]...) // the JSON object has two members "keys", of which only the second is used
	if keys, err := authentication.ParseKeys(append(two, '}')); err != nil {
		t.Error(err)
	} else if _, count := keys.Ignored(); count != 899 {
		t.Errorf("in a set with two arrays of 900 keys, %d keys are ignored, want 899 keys of the second array", count)
	}
	r := newRemote(t, func(server *authtest.KeyServer, _ *authentication.Issuer, _ *authentication.KeyOptions) {
		server.Does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set(1001)) })
	})
	r.wantUnavailable(keyES)
	if got := r.log.String(); !strings.Contains(got, many) {
		t.Errorf("the log is %q", got)
	}
}

func wantIgnored(t *testing.T, r remote, want bool) {
	t.Helper()
	got := r.log.String()
	if tells := strings.Count(got, "some keys of a token issuer are ignored") == 1 && strings.Contains(got, "issuer=main count=1 "); tells != want ||
		!want && got != "" || strings.Contains(got, "canary") {
		t.Errorf("the log is %q", got)
	}
}

// TestTwoKeysOfOneID checks that the tokens of two keys with the same key ID are accepted.
func TestTwoKeysOfOneID(t *testing.T) {
	twin := authtest.NewEC(keyES.ID)
	jwt := newJWT(t, fileIssuer("main", keyES, twin))
	for _, k := range []authtest.Key{keyES, twin} {
		if _, err := jwt.Authenticate(t.Context(), bearer(mint(k, nil, nil))); err != nil {
			t.Error(err)
		}
	}
}

// In TestAnswerWithoutAUsableKey, the previous keys must stay in use after an answer without a
// usable key, and the log must report the cause. Only an empty key set withdraws the previous keys,
// as TestRevokedKey checks.
func TestAnswerWithoutAUsableKey(t *testing.T) {
	for name, answer := range map[string]string{
		"unusable keys": `{"keys":[{"kty":"AKP","kid":"canary"}]}`,
		"HTML":          "<html>canary</html>",
		"an error":      `{"error":"canary"}`,
		"nothing":       "",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t, nil, keyES)
			r.wantGood(keyES)
			r.awaitRequest()
			r.server.Does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) })
			r.clock.Advance(10 * time.Second)
			r.wantUnavailable(keyES2) // a missing key causes another request for keys
			r.wantGood(keyES)
			cause := "the answer is not a JSON Web Key Set of up to 1 MiB and 1000 keys"
			if name == "unusable keys" {
				cause = "the answer contains no key that can verify tokens"
			}
			if got := r.log.String(); strings.Count(got, "cannot be fetched") != 1 || !strings.Contains(got, cause) || strings.Contains(got, "canary") {
				t.Errorf("the log is %q", got)
			}
		})
	}
}
