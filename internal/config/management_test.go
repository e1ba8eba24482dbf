package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

// TestPrivateSocket checks which addresses are private: only the owner of a Unix socket can connect
// to it. Callers without authentication may manage credentials only at such addresses.
func TestPrivateSocket(t *testing.T) {
	for text, want := range map[string][2]bool{ // whether the addresses `grpc` and `http` are private
		`{}`:                  {},
		`{grpc: "unix:///a"}`: {true, false},
		`{http: "unix:///a"}`: {false, true},
		`{grpc: "unix:///a", http: "unix:///b", socket_mode: "0700"}`: {true, true},
		`{grpc: "unix:///a", socket_mode: "0660"}`:                    {},
		`{grpc: "unix:///a", socket_mode: "0610"}`:                    {},
		`{http: "unix:///a", socket_mode: "0602"}`:                    {},
		`{http: "unix:///a", socket_mode: "0604"}`:                    {},
	} {
		loaded, err := config.Parse("f", []byte("listen: "+text), config.Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		listen := loaded.Listen
		if got := [2]bool{listen.IsPrivate(listen.GRPC), listen.IsPrivate(listen.HTTP)}; got != want {
			t.Errorf("%s: IsPrivate returns %v for grpc and http, want %v", text, got, want)
		}
	}
}

// TestManagementForOtherMachines checks the setting that lets callers on other machines manage over
// HTTP.
func TestManagementForOtherMachines(t *testing.T) {
	folder, _ := listenFolder(t)
	const (
		needsTLS = "needs listen.tls: without TLS, secrets that callers send could be read on the network"
		noEffect = "has no effect: only this machine can reach listen.http, where management is always on"
	)
	for text, want := range map[string]struct {
		on               bool
		problem, warning string
	}{
		"{}":                  {},
		"{management: false}": {},
		"{management: true}":  {on: true, warning: noEffect},
		`{http: "unix:///run/y", management: true}`:                                   {on: true, warning: noEffect},
		`{grpc: ":1", insecure_allow_remote: true, management: true}`:                 {on: true, warning: noEffect},
		`{http: ":1", insecure_allow_remote: true, management: true}`:                 {problem: needsTLS},
		`{http: ":1", management: true, tls: {` + withCertificate + "}}" + withTokens: {on: true},
	} {
		got, err := config.Parse(filepath.Join(folder, "b.yaml"), []byte("listen: "+text), config.Options{})
		if want.problem != "" {
			if err == nil || !strings.HasSuffix(err.Error(), want.problem) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the problems are %v, want %s", text, err, want.problem)
			}
			continue
		}
		if err != nil || got.Listen.Management != want.on {
			t.Errorf("%s: management is not %v (%v)", text, want.on, err)
			continue
		}
		if warnings := got.Warnings.Error(); !strings.HasSuffix(warnings, want.warning) || (warnings == "") != (want.warning == "") {
			t.Errorf("%s: the warnings are %q, want %q", text, warnings, want.warning)
		}
	}
}
