package server_test

import (
	"path/filepath"
	"testing"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// TestReloadOfStore checks which changes of the section `store` need a restart.
func TestReloadOfStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.db")
	keys := map[string]string{"STORE_KEY": fleetkeys.Generate(), "OTHER_KEY": fleetkeys.Generate()}
	lookUp := func(name string) (string, bool) { return keys[name], true }
	parse := func(section string) (*config.Config, error) {
		return config.Parse("broker.yaml", []byte("credentials: []\n"+section), config.Options{LookupEnv: lookUp})
	}
	section := func(path, key, more string) string {
		return "store: {url: \"sqlite://" + path + "\", keys: [{env: " + key + "}]" + more + "}\n"
	}
	h := newServer(t, func(o *server.Options) {
		loaded, err := parse(section(path, "STORE_KEY", ""))
		if err != nil {
			t.Fatal(err)
		}
		o.Config = loaded
	})
	for i, test := range []struct {
		name, section string
		restart       bool
	}{
		{"nothing", section(path, "STORE_KEY", ""), false},
		{"what needs no restart", section(path, "STORE_KEY", ", id_patterns: [a], allowed_hosts: [a.test], administrators: [\"uid:1\"]"), false},
		{"the key", section(path, "OTHER_KEY", ""), true},
		{"the file", section(path+"2", "STORE_KEY", ""), true},
		{"no store", "", true},
	} {
		before := h.restartsFor("store")
		if err := h.server.Reload(func() (*config.Config, error) { return parse(test.section) }); err != nil {
			t.Fatal(err)
		}
		if got := h.restartsFor("store") > before; got != test.restart {
			t.Errorf("%d, %s: the log asks for a restart: %v, want %v", i, test.name, got, test.restart)
		}
	}
}
