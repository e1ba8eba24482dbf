package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) (encoded, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour)}
	data, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: data})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// tlsFolder returns a folder with two certificates, a.pem and b.pem, and their keys. The file
// ab.pem has both certificates, mixed.pem has a certificate and a key, and trusted.pem has a
// certificate in OpenSSL's format TRUSTED CERTIFICATE.
func tlsFolder(t *testing.T) string {
	t.Helper()
	dir := folder(t)
	a, keyOfA := certificate(t)
	b, keyOfB := certificate(t)
	for name, text := range map[string]string{
		"a.pem": a, "a.key": keyOfA, "b.pem": b, "b.key": keyOfB, "ab.pem": a + "# b\n" + b, "mixed.pem": a + keyOfA,
		"trusted.pem": strings.ReplaceAll(a, "CERTIFICATE", "TRUSTED CERTIFICATE"), "fleet": keyOne + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRedis(t *testing.T) {
	dir := tlsFolder(t)
	for text, want := range map[string]string{
		`url: "redis://127.0.0.1"`:                                              "[127.0.0.1:6379]  false 0",
		`url: "redis://redis.example.test:7000/"`:                               "[redis.example.test:7000]  false 0",
		`url: "redis://[::1]/1023"`:                                             "[[::1]:6379]  false 1023",
		`url: "rediss://redis_1/3"`:                                             "[redis_1:6379]  false 3 TLS",
		`url: "rediss://redis:1", cluster: true, tls: {server_name: a.example}`: "[redis:1]  true 0 TLS a.example",
		`addresses: ["10.0.0.1:1", "[::1]:65535"], database: 4`:                 "[10.0.0.1:1 [::1]:65535]  false 4",
		`addresses: ["a:1"], cluster: true, database: 0, tls: {}`:               "[a:1]  true 0 TLS",
		`addresses: ["a:1"], sentinel_master: m, cluster: false`:                "[a:1] m false 0",
	} {
		redis := goodCache(t, dir, "{fleet_keys: [{file: fleet}], redis: {"+text+"}}").Redis
		got := fmt.Sprint(redis.Addresses, " ", redis.SentinelMaster, " ", redis.Cluster, " ", redis.Database)
		if redis.TLS != nil {
			got += strings.TrimRight(" TLS "+redis.TLS.ServerName, " ")
			if redis.TLS.InsecureSkipVerify || redis.TLS.MinVersion != tls.VersionTLS12 {
				t.Errorf("%s: the server is not verified, or older TLS than 1.2 is allowed", text)
			}
		}
		if got != want {
			t.Errorf("the section %s was read as %s, want %s", text, got, want)
		}
	}
}

func TestRedisSecretsAndCertificates(t *testing.T) {
	dir := tlsFolder(t)
	redis := goodCache(t, dir, `{fleet_keys: [{file: fleet}], redis: {addresses: ["a:1"], sentinel_master: m, tls: {ca_file: ab.pem, certificate_file: a.pem, key_file: a.key},
  username: {env: KEY_1}, password: {file: good}, sentinel_username: {env: KEY_2}, sentinel_password: {env: SET}}}`).Redis
	if redis.Username.Reveal() != keyOne || redis.Password.Reveal() != canary || redis.SentinelUsername.Reveal() != keyTwo || redis.SentinelPassword.Reveal() != canary {
		t.Error("the users and passwords differ from the values of their sources")
	}
	pool := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, "ab.pem"))
	if err != nil || !pool.AppendCertsFromPEM(text) || !redis.TLS.RootCAs.Equal(pool) {
		t.Errorf("the authorities differ from the file: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"))
	if err != nil || len(redis.TLS.Certificates) != 1 || !slices.Equal(redis.TLS.Certificates[0].Certificate[0], pair.Certificate[0]) {
		t.Errorf("the client's certificate differs from the file: %v", err)
	}
}
