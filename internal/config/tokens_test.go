package config_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/yamlfile"
)

var keyOne, keyTwo = fleetkeys.Generate(), fleetkeys.Generate()

// fleetEnvironment looks up environment variables that contain fleet keys, and the variables of the
// function `environment`. Each look-up of a variable that begins with FRESH_ returns a new fleet
// key.
func fleetEnvironment(name string) (string, bool) {
	values := map[string]string{
		"KEY_1": keyOne, "KEY_2": keyTwo,
		"SHORT": base64.StdEncoding.EncodeToString([]byte(canary)),
		"ZEROS": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}
	if value, found := values[name]; found {
		return value, true
	}
	if strings.HasPrefix(name, "FRESH_") {
		return fleetkeys.Generate(), true
	}
	return environment(name)
}

// parseCache parses a file in the folder dir. The argument `tokenCache` begins in line 1, column
// 14, of the file.
func parseCache(dir, tokenCache string) (*config.Config, error) {
	return config.Parse(filepath.Join(dir, "b.yaml"), []byte("token_cache: "+tokenCache+"\n"), config.Options{LookupEnv: fleetEnvironment})
}

func goodCache(t *testing.T, dir, tokenCache string) config.TokenCache {
	t.Helper()
	got, err := parseCache(dir, tokenCache)
	if err != nil {
		t.Fatalf("%s: %v", tokenCache, err)
	}
	return got.TokenCache
}

func TestTokenCacheByDefault(t *testing.T) {
	for _, text := range []string{"credentials: []\n", "token_cache: {}\n"} {
		got, err := parse(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if got.TokenCache != (config.TokenCache{}) {
			t.Errorf("%q: the configuration of the token cache is not the zero value", text)
		}
	}
}

func TestTokenCache(t *testing.T) {
	dir := tlsFolder(t)
	got := goodCache(t, dir, `{fleet_keys: [{env: KEY_1}, {env: KEY_2}], renewal_window: 2h30m, forced_renewals: {limit: 100, window: 1h}}`)
	if got.Redis != nil || got.RenewalWindow != 150*time.Minute || got.ForcedLimit != 100 || got.ForcedWindow != time.Hour {
		t.Error("the token cache differs from the file")
	}
	one, err := fleetkeys.Parse(secret.New(keyOne))
	if err != nil {
		t.Fatal(err)
	}
	first, err := fleetkeys.NewRing(one)
	if err != nil {
		t.Fatal(err)
	}
	if names := got.FleetKeys.Names("a"); len(names) != 2 || names[0] != first.Names("a")[0] {
		t.Error("the fleet keys, or their order, differ from the file")
	}
	for _, bounds := range []string{"{renewal_window: 10s}", "{renewal_window: 12h}", "{forced_renewals: {limit: 1, window: 1m}}"} {
		goodCache(t, dir, bounds)
	}
}

func TestTokenCacheReads(t *testing.T) {
	dir := tlsFolder(t)
	var read []string
	_, err := config.Parse(filepath.Join(dir, "b.yaml"), []byte(`token_cache: {fleet_keys: [{file: fleet}], redis: {url: "rediss://a", password: {file: good}, tls: {ca_file: b.pem, certificate_file: a.pem, key_file: a.key}}}`),
		config.Options{Reading: func(path string) { read = append(read, filepath.Base(path)) }})
	slices.Sort(read)
	if want := []string{"a.key", "a.pem", "b.pem", "fleet", "good"}; err != nil || !slices.Equal(read, want) {
		t.Errorf("the error is %v, and the files %v were read, want %v", err, read, want)
	}
}

func TestTokenCacheMistakes(t *testing.T) {
	const (
		form    = "must be redis://HOST:PORT/DATABASE, or rediss:// for TLS; port and database can be left out"
		noUser  = "a user or a password is not allowed in the URL: use username and password"
		address = "must be HOST:PORT, such as 10.0.0.1:6379 or [::1]:6379"
		source  = "must be exactly one of {env: NAME} and {file: PATH}"
		noValue = `unknown key; known here: "env", "file"`
		window  = "must be a duration from 10s to 12h, such as 5m"
		notKey  = "b.key:1: the private key is damaged, of an unsupported kind, or does not belong to the first certificate of the certificate file"
	)
	// The argument `text` begins in column 23 of the line.
	redis := func(text string) string { return "{redis: {" + text + "}, fleet_keys: [{env: KEY_1}]}" }
	url := func(text string) string { return redis(`url: "` + text + `"`) }
	// The argument `text` begins in column 48 of the line.
	ofTLS := func(text string) string { return redis(`url: "rediss://a", tls: {` + text + "}") }
	for name, test := range map[string]struct {
		text string
		want string // one problem per line, each with its column
	}{
		"no fleet keys":       {`{redis: {url: "redis://a"}}`, "15: token_cache.redis needs fleet_keys: make one with 'broker keygen' and give it to every replica"},
		"empty fleet keys":    {`{fleet_keys: []}`, "27: must have 1 to 10 items, and has 0"},
		"many fleet keys":     {`{fleet_keys: [` + strings.Repeat("{env: FRESH_}, ", 10) + `{env: FRESH_}]}`, "27: must have 1 to 10 items, and has 11"},
		"a key in the file":   {`{fleet_keys: [{value: ` + canary + `}]}`, "29: " + noValue},
		"a bare key":          {`{fleet_keys: [` + canary + `]}`, "28: " + source},
		"unset key":           {`{fleet_keys: [{env: UNSET}]}`, "34: the environment variable UNSET is not set"},
		"a key of no base64":  {`{fleet_keys: [{env: SET}]}`, "28: the key is not standard base64: make one with 'broker keygen'"},
		"a short key":         {`{fleet_keys: [{env: KEY_1}, {env: SHORT}]}`, "42: the key has 11 bytes, not 32: make one with 'broker keygen'"},
		"a weak key":          {`{fleet_keys: [{env: ZEROS}]}`, "28: the key is not random: make one with 'broker keygen'"},
		"the same key":        {`{fleet_keys: [{env: KEY_2}, {env: KEY_1}, {file: fleet}]}`, "56: duplicate fleet key: it is also number 2 of the list"},
		"no place":            {redis("cluster: true"), "22: needs url or addresses"},
		"two places":          {redis(`url: "redis://a", addresses: ["a:1"]`), "41: is not allowed together with url"},
		"a password":          {url("redis://:" + canary + "@a"), "28: " + noUser},
		"a user":              {url("redis://" + canary + "@a/0"), "28: " + noUser},
		"a broken password":   {url("redis://:%zz" + canary + "@a"), "28: " + noUser},
		"a query":             {url("redis://a?password=" + canary), "28: " + form},
		"a fragment":          {url("redis://a#" + canary), "28: " + form},
		"another scheme":      {url("https://" + canary), "28: " + form},
		"no scheme":           {url("127.0.0.1:6379"), "28: " + form},
		"no host":             {url("redis:///0"), "28: " + form},
		"two hosts":           {url("redis://a:1,b:2"), "28: " + form},
		"port 0":              {url("redis://a:0"), "28: " + form},
		"a large port":        {url("redis://a:65536"), "28: " + form},
		"a large database":    {url("redis://a/1024"), "28: the database must be a number from 0 to 1023"},
		"a named database":    {url("redis://a/" + canary), "28: the database must be a number from 0 to 1023"},
		"a number as URL":     {redis("url: 1"), "28: must be a string, and is a number: put it in quotes"},
		"the database twice":  {redis(`url: "redis://a/1", database: 1`), "43: is not allowed together with url"},
		"no addresses":        {redis(`addresses: []`), "34: must have 1 to 100 items, and has 0"},
		"no port":             {redis(`addresses: ["a:1", "b"]`), "42: " + address},
		"a URL as address":    {redis(`addresses: ["redis://` + canary + `"]`), "35: " + address},
		"the same address":    {redis(`addresses: ["a:1", "a:1"]`), "42: duplicate address: it is already in line 1"},
		"a huge database":     {redis(`addresses: ["a:1"], database: 1024`), "53: must be a whole number from 0 to 1023"},
		"Cluster, database":   {redis(`addresses: ["a:1"], cluster: true, database: 1`), "68: a Cluster has only the database 0"},
		"Cluster, URL":        {redis(`url: "redis://a/1", cluster: true`), "28: a Cluster has only the database 0"},
		"Cluster, Sentinels":  {redis(`addresses: ["a:1"], sentinel_master: m, cluster: true`), "63: is not allowed together with sentinel_master"},
		"Sentinels by URL":    {redis(`url: "redis://a", sentinel_master: m`), "41: needs addresses"},
		"a user alone":        {redis(`url: "redis://a", username: {env: SET}`), "41: needs password"},
		"a password as text":  {redis(`url: "redis://a", password: {value: ` + canary + `}`), "52: " + noValue},
		"a bare password":     {redis(`url: "redis://a", password: ` + canary), "51: " + source},
		"two sources":         {redis(`url: "redis://a", password: {env: SET, file: good}`), "51: " + source},
		"Sentinel secrets":    {redis(`url: "redis://a", sentinel_password: {env: SET}, sentinel_username: {env: SET}`), "41: needs sentinel_master\n72: needs sentinel_master"},
		"a Sentinel user":     {redis(`addresses: ["a:1"], sentinel_master: m, sentinel_username: {env: SET}`), "63: needs sentinel_password"},
		"TLS, no TLS":         {redis(`url: "redis://a", tls: {}`), "41: needs rediss:// in the URL"},
		"no verification":     {ofTLS("insecure: true"), `48: unknown key; known here: "ca_file", "certificate_file", "key_file", "server_name"`},
		"no CA file":          {ofTLS("ca_file: none"), "57: the file does not exist; a relative path is relative to $DIR"},
		"a large CA file":     {ofTLS("ca_file: huge"), "57: the file is larger than the limit of 1 MiB; a relative path is relative to $DIR"},
		"no PEM":              {ofTLS("ca_file: good"), "57: good: the file has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected"},
		"a key as CA":         {ofTLS("ca_file: mixed.pem"), "57: mixed.pem:9: expected a CERTIFICATE, found PRIVATE KEY: only certificates belong in this file"},
		"a CA file of number": {ofTLS("ca_file: 1"), "57: must be a string, and is a number: put it in quotes"},
		"another kind of PEM": {ofTLS("ca_file: trusted.pem"), "57: trusted.pem:1: expected a CERTIFICATE, found TRUSTED CERTIFICATE: only certificates belong in this file"},
		"no name of a file":   {ofTLS(`ca_file: ""`), "57: must not be empty"},
		"no key":              {ofTLS("certificate_file: a.pem"), "48: needs key_file"},
		"no certificate":      {ofTLS("key_file: a.key"), "48: needs certificate_file"},
		"another's key":       {ofTLS("certificate_file: a.pem, key_file: b.key"), "83: " + notKey},
		"no PEM as key":       {ofTLS("certificate_file: a.pem, key_file: good"), "83: good: the file has no private key in PEM: a line -----BEGIN PRIVATE KEY----- is expected"},
		"no certificate file": {ofTLS("certificate_file: none, key_file: nothing"), "66: the file does not exist; a relative path is relative to $DIR\n82: the file does not exist; a relative path is relative to $DIR"},
		"a key of number":     {ofTLS("certificate_file: a.pem, key_file: 1"), "83: must be a string, and is a number: put it in quotes"},
		"a name with a port":  {ofTLS(`server_name: "` + canary + `:1"`), "61: must be a host name or an IP address, without a port"},
		"a short window":      {"{renewal_window: 9s}", "31: " + window},
		"a long window":       {"{renewal_window: 13h}", "31: " + window},
		"a word as window":    {"{renewal_window: " + canary + "}", "31: " + window},
		"a number as window":  {"{renewal_window: 300}", "31: must be a string, and is a number: put it in quotes"},
		"no renewals":         {"{forced_renewals: {limit: 0}}", "40: must be a whole number from 1 to 100"},
		"many renewals":       {"{forced_renewals: {limit: 101}}", "40: must be a whole number from 1 to 100"},
		"half a renewal":      {"{forced_renewals: {limit: 1.5}}", "40: must be a whole number from 1 to 100"},
		"a short interval":    {"{forced_renewals: {window: 59s}}", "41: must be a duration from 1m to 1h, such as 10m"},
		"a long interval":     {"{forced_renewals: {window: 61m}}", "41: must be a duration from 1m to 1h, such as 10m"},
		"everything is wrong": {`{redis: {url: "redis://` + canary + `@a", password: {value: x}, tls: {ca_file: none}}, renewal_window: 1s, fleet_keys: [{env: SET}]}`,
			"28: " + noUser + "\n64: " + noValue + "\n90: the file does not exist; a relative path is relative to $DIR\n114: " + window + "\n131: the key is not standard base64: make one with 'broker keygen'"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tlsFolder(t)
			if err := os.WriteFile(filepath.Join(dir, "huge"), make([]byte, 1<<20+1), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := parseCache(dir, test.text)
			var problems yamlfile.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("the error is %v, want problems", err)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "b.yaml")+":1:", ""), dir, "$DIR")
			if text != test.want {
				t.Errorf("the problems are\n%s\nwant\n%s", text, test.want)
			}
			for _, hidden := range []string{canary, keyOne, keyTwo} {
				if strings.Contains(text, hidden) {
					t.Errorf("a problem quotes a secret: %s", text)
				}
			}
		})
	}
}

func TestSame(t *testing.T) {
	dir := tlsFolder(t)
	const keys = "fleet_keys: [{env: KEY_1}]"
	full := func(edits ...string) string {
		return strings.NewReplacer(edits...).Replace(`{` + keys + `, renewal_window: 10m, forced_renewals: {limit: 4, window: 20m}, redis: {addresses: ["a:1", "b:1"], sentinel_master: m, database: 1,
  username: {env: SET}, password: {env: SET}, sentinel_username: {env: SET}, sentinel_password: {env: SET},
  tls: {ca_file: a.pem, server_name: n, certificate_file: a.pem, key_file: a.key}}}`)
	}
	base := goodCache(t, dir, full())
	if !base.Same(goodCache(t, dir, full("{env: KEY_1}", "{file: fleet}", "password: {env: SET}", "password: {file: good}", "10m", "600s"))) {
		t.Error("Same returns false for the same values from other sources")
	}
	for _, other := range []string{
		"{}", "{" + keys + "}",
		full("KEY_1", "KEY_2"), full(keys, "fleet_keys: [{env: KEY_1}, {env: KEY_2}]"), full("10m", "11m"), full("limit: 4", "limit: 5"), full("20m", "21m"),
		full("b:1", "c:1"), full("sentinel_master: m", "sentinel_master: n"), full("database: 1", "database: 2"),
		full("  username: {env: SET}", "  username: {env: KEY_1}"), full(", password: {env: SET}", ", password: {env: KEY_1}"),
		full("sentinel_username: {env: SET}", "sentinel_username: {env: KEY_1}"), full("sentinel_password: {env: SET}", "sentinel_password: {env: KEY_1}"),
		full("ca_file: a", "ca_file: b"), full("ca_file: a.pem, ", ""), full("server_name: n", "server_name: o"),
		full("certificate_file: a", "certificate_file: b", "a.key", "b.key"), full(", certificate_file: a.pem, key_file: a.key", ""),
		full(",\n  tls: {ca_file: a.pem, server_name: n, certificate_file: a.pem, key_file: a.key}", ""),
		strings.NewReplacer("sentinel_master: m, database: 1", "cluster: true", "sentinel_username: {env: SET}, sentinel_password: {env: SET},", "").Replace(full()),
	} {
		if changed := goodCache(t, dir, other); base.Same(changed) || changed.Same(base) {
			t.Errorf("Same returns true for a different token cache: %s", other)
		}
	}
	plain := goodCache(t, dir, "{"+keys+`, redis: {addresses: ["a:1"]}}`)
	if plain.Same(goodCache(t, dir, "{"+keys+`, redis: {addresses: ["a:1"], cluster: true}}`)) {
		t.Error("Same returns true for a Cluster and a server")
	}
	if !(config.TokenCache{}).Same(goodCache(t, dir, "{}")) {
		t.Error("two token caches in memory are not the same")
	}
}
