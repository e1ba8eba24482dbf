package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

// TestConcurrentFirstStarts checks that brokers which start at the same time in a new folder use the
// same key. With different keys, the secrets that one broker encrypts would be lost.
func TestConcurrentFirstStarts(t *testing.T) {
	d := &dataFolder{path: t.TempDir()}
	var keys sync.Map
	var starts sync.WaitGroup
	for range 50 {
		starts.Go(func() {
			key, err := d.secret(dataStoreKey, fleetkeys.Generate)
			if err != nil {
				t.Error(err)
			}
			keys.Store(key.Reveal(), true)
		})
	}
	starts.Wait()
	data, err := os.ReadFile(d.file(dataStoreKey))
	if err != nil {
		t.Fatal(err)
	}
	keys.Range(func(key, _ any) bool {
		if key != strings.TrimSpace(string(data)) {
			t.Error("a broker uses another key than the one in the file")
		}
		return true
	})
	if names, err := filepath.Glob(d.file("*")); err != nil || len(names) != 1 {
		t.Errorf("the folder has the files %v: %v", names, err)
	}
}

// TestGrantOfData checks that explanations of access do not name a line of a file that does not exist.
func TestGrantOfData(t *testing.T) {
	d, err := openDataFolder(filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "off")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := d.load()
	if err != nil {
		t.Fatal(err)
	}
	grant := loaded.Policy.Decide(access.NamedCaller("token:admin"), access.Manage, access.Object{CredentialID: "mail"}).Grant
	if grant == nil || grant.Source != "broker serve --data (built in)" {
		t.Errorf("the grant is %+v", grant)
	}
}
