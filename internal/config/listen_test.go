package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// listenFolder returns a folder with a certificate, its key, its authority's certificate ca.pem,
// and files that cannot be used together with the certificate.
func listenFolder(t *testing.T) (folder string, certificate tls.Certificate) {
	t.Helper()
	folder = t.TempDir()
	authority := authtest.NewAuthority("test", time.Now())
	certificate, other := authority.IssueLoopback(), authority.IssueLoopback()
	client := authority.Issue(x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for name, text := range map[string][]byte{
		"cert.pem": authtest.CertificatePEM(certificate), "key.pem": authtest.KeyPEM(certificate), "ca.pem": authority.PEM(),
		"other-key.pem": authtest.KeyPEM(other), "client.pem": authtest.CertificatePEM(client), "client-key.pem": authtest.KeyPEM(client),
		"empty.pem": nil, "secret.pem": []byte(canary),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder, certificate
}

func parseListen(t *testing.T, folder, text string) (config.Listen, error) {
	t.Helper()
	got, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte(text), config.Options{})
	if err != nil {
		return config.Listen{}, err
	}
	return got.Listen, nil
}

func TestListenTLS(t *testing.T) {
	folder, certificate := listenFolder(t)
	var read []string
	parsed, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte("listen: {tls: {certificate_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem}}"),
		config.Options{Reading: func(path string) { read = append(read, filepath.Base(path)) }})
	if err != nil {
		t.Fatal(err)
	}
	got := parsed.Listen.TLS
	if !got.Certificate.Leaf.Equal(certificate.Leaf) || got.MinVersion != tls.VersionTLS13 {
		t.Errorf("the certificate differs from the file, or the TLS version is %x", got.MinVersion)
	}
	if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: got.ClientCAs}); err != nil {
		t.Errorf("the authority for client certificates differs from the file: %v", err)
	}
	if slices.Sort(read); !slices.Equal(read, []string{"ca.pem", "cert.pem", "key.pem"}) {
		t.Errorf("the files that were read are %v", read)
	}
	older, err := parseListen(t, folder, `listen: {tls: {certificate_file: cert.pem, key_file: key.pem, min_version: "1.2"}}`)
	if err != nil || older.TLS.MinVersion != tls.VersionTLS12 || older.TLS.ClientCAs != nil {
		t.Errorf("with TLS 1.2, the TLS configuration is %+v (%v)", older.TLS, err)
	}
}

func TestListenTLSMistakes(t *testing.T) {
	folder, _ := listenFolder(t)
	for given, want := range map[string]string{
		"{}":                           "1:15: must have certificate_file and key_file",
		"{client_ca_file: ca.pem}":     "1:15: must have certificate_file and key_file",
		"{certificate_file: cert.pem}": "1:16: needs key_file",
		"{key_file: key.pem}":          "1:16: needs certificate_file",
		"{certificate_file: cert.pem, key_file: other-key.pem}":                              "1:54: other-key.pem:1: the private key is damaged, of an unsupported kind, or does not belong to the first certificate of the certificate file",
		"{certificate_file: cert.pem, key_file: cert.pem}":                                   "1:54: cert.pem:1: expected a PRIVATE KEY, found CERTIFICATE: only the private key belongs here",
		"{certificate_file: key.pem, key_file: key.pem}":                                     "1:34: key.pem:1: expected a CERTIFICATE, found PRIVATE KEY: only certificates belong in this file",
		"{certificate_file: none.pem, key_file: key.pem}":                                    "1:34: the file does not exist; a relative path is relative to $DIR",
		"{certificate_file: client.pem, key_file: client-key.pem}":                           "1:34: the first certificate is not for servers: its extended key usage lacks serverAuth",
		"{certificate_file: cert.pem, key_file: key.pem, client_ca_file: empty.pem}":         "1:79: empty.pem: the file has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected",
		"{certificate_file: cert.pem, key_file: key.pem, client_ca_file: secret.pem}":        "1:79: secret.pem: the file has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected",
		`{certificate_file: cert.pem, key_file: key.pem, min_version: "1.1"}`:                `1:76: must be one of "1.2", "1.3"`,
		`{certificate_file: cert.pem, key_file: key.pem, min_version: 1.2}`:                  `1:76: must be a string, and is a number: put it in quotes`,
		`{certificate_file: cert.pem, key_file: key.pem, cipher_suites: [RC4]}`:              `1:63: unknown key; known here: "certificate_file", "client_ca_file", "key_file", "min_version"`,
		"{certificate_file: cert.pem, key_file: key.pem, insecure_skip_verify: true}":        `1:63: unknown key; known here: "certificate_file", "client_ca_file", "key_file", "min_version"`,
		"{certificate_file: cert.pem, key_file: key.pem}, insecure_allow_remote: yes please": "1:87: must be true or false, and is a string",
	} {
		_, err := parseListen(t, folder, "listen: {tls: "+given+"}")
		if err == nil {
			t.Errorf("%s has no problem", given)
			continue
		}
		got := strings.NewReplacer(filepath.Join(folder, "b.yaml")+":", "", folder, "$DIR").Replace(err.Error())
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", given, got, want)
		}
	}
}

const (
	withCertificate = "certificate_file: cert.pem, key_file: key.pem"
	withTokens      = "\nauthentication: {tokens: [{name: a, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]}"
	withPeerUser    = "\nauthentication: {peer_user: true}"
)

// TestRemoteAddresses checks which settings are needed to listen where other machines can connect.
func TestRemoteAddresses(t *testing.T) {
	folder, _ := listenFolder(t)
	const (
		neither   = "TLS and authenticated callers: add listen.tls, and listen.tls.client_ca_file, authentication.jwt or authentication.tokens"
		noTLS     = "TLS: add listen.tls"
		noCallers = "authenticated callers: add listen.tls.client_ca_file, authentication.jwt or authentication.tokens"
	)
	for _, test := range []struct {
		listen, more string
		lacks        string // the missing setting; empty if none is missing
	}{
		{"", "", neither},
		{"", withTokens, noTLS},
		{"", withPeerUser, neither},
		{"tls: {" + withCertificate + "}", "", noCallers},
		{"tls: {" + withCertificate + "}", withPeerUser, noCallers},
		{"tls: {" + withCertificate + "}", "\nauthentication: {}", noCallers},
		{"tls: {" + withCertificate + "}", "\nauthentication: {tokens: [], jwt: []}", noCallers},
		{"tls: {" + withCertificate + "}", withTokens, ""},
		{"tls: {" + withCertificate + ", client_ca_file: ca.pem}", "", ""},
		{"insecure_allow_remote: false", "", neither},
		{"insecure_allow_remote: true", "", ""},
	} {
		for _, address := range []string{"0.0.0.0:1", ":1", "[::]:1", "192.0.2.1:1", "broker.example.test:1", "127.0.0.1.example.test:1"} {
			for _, key := range []string{"grpc", "http"} {
				text := fmt.Sprintf("listen: {%s: %q, %s}%s", key, address, test.listen, test.more)
				got, err := parseListen(t, folder, text)
				if test.lacks == "" {
					remote := map[string]config.Address{"grpc": got.GRPC, "http": got.HTTP}[key]
					if err != nil || !remote.Remote || remote.Address != address || got.GRPC.Remote && got.HTTP.Remote {
						t.Errorf("%s: %v, %+v", text, err, got)
					}
					continue
				}
				want := "b.yaml:1:16: would listen beyond this machine without " + test.lacks + ". Or use 127.0.0.1, "
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "insecure_allow_remote: true") {
					t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
				}
			}
		}
	}
	for _, address := range []string{"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:///run/x"} {
		if got, err := parseListen(t, folder, fmt.Sprintf("listen: {grpc: %q}", address)); err != nil || got.GRPC.Remote {
			t.Errorf("%s: %v, %+v", address, err, got)
		}
	}
}

// TestSocketForEverybody checks which settings are needed to let every user connect to a Unix
// socket.
func TestSocketForEverybody(t *testing.T) {
	folder, _ := listenFolder(t)
	const granted = "\ngrants: [{callers: [\"uid:1\"], credentials: [\"*\"]}]"
	for _, test := range []struct {
		listen, more string
		refused      bool
	}{
		{`grpc: "unix:///run/x", socket_mode: "0666"`, "", true},
		{`grpc: "unix:///run/x", socket_mode: "0602"`, "", true},
		{`grpc: "unix:///run/x", socket_mode: "0601"`, "", true},
		{`grpc: "unix:///run/x", socket_mode: "0666"`, granted, false},
		{`grpc: "unix:///run/x", socket_mode: "0666"`, "\ngrants: []", false},
		{`grpc: "unix:///run/x", socket_mode: "0666"`, withPeerUser, false}, // allowed: without the section `grants`, no caller may do anything
		{`grpc: "unix:///run/x", socket_mode: "0660"`, "", false},
		{`grpc: "unix:///run/x"`, "", false},
		{`http: "unix:///run/x", socket_mode: "0666"`, "", false}, // allowed: the HTTP address serves only metrics
	} {
		_, err := parseListen(t, folder, "listen: {"+test.listen+"}"+test.more)
		if refused := err != nil && strings.Contains(err.Error(), "b.yaml:1:46: every user of this machine could get the secrets: add 'grants'"); refused != test.refused || err != nil && !refused {
			t.Errorf("%s%s: %v", test.listen, test.more, err)
		}
	}
}

func TestKeysWithoutEffect(t *testing.T) {
	folder, _ := listenFolder(t)
	const socket, sockets = `grpc: "unix:///run/x"`, `grpc: "unix:///run/x", http: "unix:///run/y"`
	for text, want := range map[string]string{
		`listen: {socket_mode: "0600"}`:                                                "1:10: has no effect: neither listen.grpc nor listen.http is a Unix socket",
		"listen: {" + sockets + ", tls: {" + withCertificate + "}}":                    "1:56: has no effect: listen.grpc and listen.http are Unix sockets, which have no TLS",
		"listen: {" + sockets + ", tls: {" + withCertificate + "}}\nconsole: {}":       "",
		"listen: {insecure_allow_remote: true}":                                        "1:10: has no effect: listen.grpc and listen.http are on this machine. Remove this setting, so that a change of an address is checked",
		"authentication: {peer_user: true}":                                            "1:18: has no effect: neither listen.grpc nor listen.http is a Unix socket",
		"listen: {" + socket + `, socket_mode: "0600"}`:                                "",
		"listen: {" + socket + ", tls: {" + withCertificate + "}}":                     "",
		`listen: {http: ":1", insecure_allow_remote: true}`:                            "",
		"listen: {" + socket + ", insecure_allow_remote: false}":                       "",
		"listen: {" + socket + "}\nauthentication: {peer_user: true}":                  "",
		"listen: {http: \"unix:///run/y\"}\nauthentication: {peer_user: true}":         "",
		`listen: {http: "unix:///run/y", tls: {` + withCertificate + "}}":              "",
		`listen: {http: "unix:///run/y", socket_mode: "0600"}`:                         "",
		"listen: {tls: {" + withCertificate + "}}\nauthentication: {peer_user: false}": "",
	} {
		got, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte(text), config.Options{})
		switch {
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case want == "" && len(got.Warnings) > 0, want != "" && (len(got.Warnings) != 1 || !strings.HasSuffix(got.Warnings.Error(), "/b.yaml:"+want)):
			t.Errorf("%s: the warnings are %v, want %q", text, got.Warnings, want)
		}
	}
}

func TestReflectionBeyondThisMachine(t *testing.T) {
	folder, _ := listenFolder(t)
	for text, want := range map[string]bool{
		"{}":                                    true,
		"{reflection: false}":                   false,
		`{grpc: "unix:///run/x"}`:               true,
		`{http: ":1", `:                         true,
		`{grpc: ":1", `:                         false,
		`{grpc: ":1", reflection: true, `:       true,
		`{grpc: "[::1]:1", reflection: false, `: false,
	} {
		if !strings.HasSuffix(text, "}") {
			text += "insecure_allow_remote: true}"
		}
		if got, err := parseListen(t, folder, "listen: "+text); err != nil || got.Reflection != want {
			t.Errorf("%s: reflection is %v (%v), want %v", text, got.Reflection, err, want)
		}
	}
}

// TestChangesOfListen checks which changes of the section 'listen' need a restart.
func TestChangesOfListen(t *testing.T) {
	folder, _ := listenFolder(t)
	load := func(text string) config.Listen {
		t.Helper()
		got, err := parseListen(t, folder, text)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := load("listen: {tls: {" + withCertificate + "}}")
	for text, same := range map[string]bool{
		"listen: {tls: {" + withCertificate + "}}":                                             true,
		"listen: {tls: {" + withCertificate + `, client_ca_file: ca.pem, min_version: "1.2"}}`: true,
		"listen: {tls: {" + withCertificate + "}}" + withTokens:                                true,
		"{}": false,
		"listen: {http: \"127.0.0.1:7\", tls: {" + withCertificate + "}}":       false,
		"listen: {socket_mode: \"0660\", tls: {" + withCertificate + "}}":       false,
		"listen: {insecure_allow_remote: true, tls: {" + withCertificate + "}}": false,
		"listen: {reflection: false, tls: {" + withCertificate + "}}":           false,
	} {
		if after := load(text); before.Same(after) != same || after.Same(before) != same {
			t.Errorf("%s: Same returns %v, want %v", text, before.Same(after), same)
		}
	}
}

func TestLimits(t *testing.T) {
	for text, want := range map[string]config.Limits{
		"{}": {Connections: 1000, ConnectionsPerCaller: 32, StreamsPerConnection: 100, ConcurrentCalls: 1000, MessageBytes: 16 << 10, HeaderBytes: 16 << 10, WatchesPerCaller: 1000, CallsPerSecond: 5000, CallBurst: 10000, DenialsPerSecond: 10, DenialBurst: 100},
		"limits: {connections: 1, connections_per_caller: 6, streams_per_connection: 2, concurrent_calls: 3, message_bytes: 65536, header_bytes: 8192, watches_per_caller: 4, calls_per_second: 5}": {Connections: 1, ConnectionsPerCaller: 6, StreamsPerConnection: 2, ConcurrentCalls: 3, MessageBytes: 65536, HeaderBytes: 8192, WatchesPerCaller: 4, CallsPerSecond: 5, CallBurst: 100, DenialsPerSecond: 10, DenialBurst: 100},
		"limits: {calls_per_second: 60}":                    {Connections: 1000, ConnectionsPerCaller: 32, StreamsPerConnection: 100, ConcurrentCalls: 1000, MessageBytes: 16 << 10, HeaderBytes: 16 << 10, WatchesPerCaller: 1000, CallsPerSecond: 60, CallBurst: 120, DenialsPerSecond: 10, DenialBurst: 100},
		"limits: {calls_per_second: 60, call_burst: 100}":   {Connections: 1000, ConnectionsPerCaller: 32, StreamsPerConnection: 100, ConcurrentCalls: 1000, MessageBytes: 16 << 10, HeaderBytes: 16 << 10, WatchesPerCaller: 1000, CallsPerSecond: 60, CallBurst: 100, DenialsPerSecond: 10, DenialBurst: 100},
		"limits: {denials_per_second: 20}":                  {Connections: 1000, ConnectionsPerCaller: 32, StreamsPerConnection: 100, ConcurrentCalls: 1000, MessageBytes: 16 << 10, HeaderBytes: 16 << 10, WatchesPerCaller: 1000, CallsPerSecond: 5000, CallBurst: 10000, DenialsPerSecond: 20, DenialBurst: 200},
		"limits: {denials_per_second: 20, denial_burst: 1}": {Connections: 1000, ConnectionsPerCaller: 32, StreamsPerConnection: 100, ConcurrentCalls: 1000, MessageBytes: 16 << 10, HeaderBytes: 16 << 10, WatchesPerCaller: 1000, CallsPerSecond: 5000, CallBurst: 10000, DenialsPerSecond: 20, DenialBurst: 1},
	} {
		got, err := parse(t, text)
		if err != nil || got.Limits != want {
			t.Errorf("%s: the limits are %+v (error: %v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"connections: 0", "connections_per_caller: 0", "concurrent_calls: -1", "message_bytes: 16383", "header_bytes: 4095", "call_burst: 99", "denials_per_second: 0", "denial_burst: 0", "calls_per_second: 1.5", "watches_per_caller: many", "streams: 1"} {
		if _, err := parse(t, "limits: {"+text+"}"); err == nil {
			t.Errorf("%s has no problem", text)
		}
	}
}
