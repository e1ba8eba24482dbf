package redisstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/logtest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// These secrets must not appear in Redis.
const (
	canaryKey   = "https://provider.example/token\x00canary-client-id\x00canary-client-secret"
	canaryToken = "canary-token-value-which-is-long"
)

// Neither the keys, the commands nor the replies of Redis may contain a secret.
func TestNoSecretInRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	traffic := monitor(t, server.Addr())
	rings := phases(t)
	r := start(t, at(server.Addr()), rings[1])
	for i, rejected := range []bool{false, true, true} {
		_, lease, err := r.Lock(t.Context(), canaryKey, never)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			failUnder(t, lease, time.Now().Add(time.Minute))
		}
		if _, err := lease.ForcedWait(t.Context(), 3, longest); err != nil {
			t.Fatal(err)
		}
		wantCommit(t, lease, newToken(canaryToken+strings.Repeat("x", i)), rejected, canaryToken+strings.Repeat("x", i))
		if i == 2 {
			failUnder(t, lease, time.Now().Add(time.Minute))
		}
		lease.Release()
	}
	announce(t, r.Store, replicaNamed("a"))
	setUsage(t, r.Store, "canary-credential-id", `{"canary-caller-name":1}`)
	if _, err := open(t, server, rings[2]).Load(t.Context(), canaryKey); err != nil { // Load copies the token to the key set of the first fleet key
		t.Fatal(err)
	}

	var held bytes.Buffer
	for _, name := range client.Keys(t.Context(), "*").Val() {
		held.WriteString(name + "\n" + client.Dump(t.Context(), name).Val() + "\n")
		held.WriteString(client.Get(t.Context(), name).Val() + "\n")
		held.WriteString(strings.Join(client.LRange(t.Context(), name, 0, -1).Val(), "\n") + "\n")
		for _, message := range client.XRange(t.Context(), name, "-", "+").Val() {
			for field, value := range message.Values {
				held.WriteString(field + "\n" + value.(string) + "\n")
			}
		}
	}
	held.WriteString(client.Do(t.Context(), "SLOWLOG", "GET", "-1").String())
	const kinds = "token failure rejected forced replicas usage changes probe"
	for kind := range strings.FieldsSeq(kinds) {
		if !strings.Contains(held.String(), ":"+kind+"\n") {
			t.Errorf("Redis has no key of the kind %q", kind)
		}
	}
	if err := client.Echo(t.Context(), "the last command").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last command was seen", func() bool { return strings.Contains(traffic.String(), "the last command") })
	for where, text := range map[string]string{"Redis": held.String(), "the traffic": traffic.String()} {
		for _, secret := range []string{canaryToken, canaryKey, "canary-client-secret", "canary-client-id", "provider.example", "canary-credential-id", "canary-caller-name"} {
			if form := formOf(text, secret); form != "" {
				t.Errorf("%s contains a secret in the form %s", where, form)
			}
		}
	}
}

// formOf returns the form in which a text contains a secret, or "" if it does not.
func formOf(text, secret string) string {
	forms := map[string]string{
		"as it is":   secret,
		"in part":    secret[:10],
		"hex":        hex.EncodeToString([]byte(secret)),
		"percent":    url.QueryEscape(secret),
		"in a quote": strings.Trim(strconv.Quote(secret), `"`),
	}
	for skip := range 3 { // the base64 text depends on where the secret begins within a group of three bytes
		inside := secret[skip : skip+(len(secret)-skip)/3*3]
		forms["base64"+strings.Repeat("+", skip)] = base64.StdEncoding.EncodeToString([]byte(inside))
		forms["base64 for URLs"+strings.Repeat("+", skip)] = base64.URLEncoding.EncodeToString([]byte(inside))
	}
	for form, value := range forms {
		if strings.Contains(strings.ToLower(text), strings.ToLower(value)) {
			return form
		}
	}
	return ""
}

func monitor(t *testing.T, address string) *logtest.Log {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	seen := &logtest.Log{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(seen, connection)
	}()
	t.Cleanup(func() {
		_ = connection.Close()
		<-ended
	})
	if _, err := io.WriteString(connection, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server reports its commands", func() bool { return strings.Contains(seen.String(), "+OK") })
	return seen
}
