package storetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/authmaterial/broker/internal/store"
)

func destroys(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	credential, _ := f.credential(s, "one")
	change := update(credential)
	change.Insert = newVersion(2, "second")
	credential.ActiveVersion = 2
	f.apply(s, change)
	credential, versions := f.credential(s, "one")
	first := versions[0]
	// The first bytes are not compared, because they contain only the format and the key's ID, which
	// are not secret.
	sealed, dataKey := first.Sealed[8:], first.DataKey[8:]
	if dump := f.database.Dump(t); !bytes.Contains(dump, sealed) || !bytes.Contains(dump, dataKey) {
		t.Fatal("the dump of the database does not contain the encrypted values")
	}
	change = update(credential)
	change.Destroy = 1
	f.apply(s, change)

	if dump := f.database.Dump(t); bytes.Contains(dump, sealed) || bytes.Contains(dump, dataKey) {
		t.Error("the database contains the encrypted values of a destroyed version")
	}
	credential, versions = f.credential(s, "one")
	if v := versions[0]; v.Sealed != nil || v.DataKey != nil || !v.DestroyTime.Equal(start) || len(v.SecretFields) != 1 {
		t.Errorf("the destroyed version is %+v, want no encrypted values, a destroy time and one secret field", v)
	}
	if _, err := s.Values(credential, versions[0]); !errors.Is(err, store.ErrDestroyed) {
		t.Errorf("decrypting the values of a destroyed version returned the error %v, want ErrDestroyed", err)
	}
	f.wantValue(s, credential, versions[1], "second")
	for what, prepare := range map[string]func(*store.Change){
		"destroys":  func(c *store.Change) { c.Destroy = 1 },
		"activates": func(c *store.Change) { c.Credential.ActiveVersion = 1 },
		"tries out": func(c *store.Change) { c.Credential.CanaryVersion = 1 },
	} {
		change := update(credential)
		prepare(&change)
		if _, err := s.Apply(t.Context(), change); !errors.Is(err, store.ErrVersionNotFound) {
			t.Errorf("a change that %s a destroyed version returned the error %v, want ErrVersionNotFound", what, err)
		}
		credential, _ = f.credential(s, "one")
	}
}

// limitsDestroyed replaces and destroys the values of a credential many times.
func limitsDestroyed(t *testing.T, f *fixture) {
	s := f.open()
	change := NewCredential("one")
	f.apply(s, change)
	const replaced = 105
	for number := 2; number <= replaced+1; number++ {
		credential, _ := f.credential(s, "one")
		credential.ActiveVersion = number
		f.apply(s, store.Change{Credential: credential, Insert: newVersion(number, "later"), Destroy: number - 1, Event: change.Event})
	}
	_, versions := f.credential(s, "one")
	if first, last := versions[0].Number, versions[len(versions)-1].Number; len(versions) > 102 || last != replaced+1 || last-first+1 != len(versions) {
		t.Errorf("the store kept %d versions, from %d to %d, want the active one and the latest destroyed ones", len(versions), first, last)
	}
}

// `bound` plays an attacker who can write to the database, and checks that a version that the
// attacker changed cannot be decrypted.
func bound(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	f.apply(s, NewCredential("two"))
	swap := func(column string) string {
		return `UPDATE versions SET ` + column + ` = (SELECT v.` + column + ` FROM versions v WHERE v.credential_id = 'two') WHERE credential_id = 'one'`
	}
	for what, attack := range map[string]string{
		"the values of another credential":   swap("sealed"),
		"the data key of another credential": swap("data_key"),
		"the ID of another version":          swap("id"),
		"other hosts":                        `UPDATE versions SET allowed_hosts = '["evil.example.com"]' WHERE credential_id = 'one'`,
		"no hosts":                           `UPDATE versions SET allowed_hosts = 'null' WHERE credential_id = 'one'`,
		"other public values":                `UPDATE versions SET public_values = '{"login":"mallory"}' WHERE credential_id = 'one'`,
		"another number":                     `UPDATE versions SET number = 2 WHERE credential_id = 'one'`,
		"another provider":                   `UPDATE credentials SET provider = 'evil' WHERE id = 'one'`,
		"another auth method":                `UPDATE credentials SET auth_method = 'evil' WHERE id = 'one'`,
		"no values":                          `UPDATE versions SET sealed = NULL WHERE credential_id = 'one'`,
		"no data key":                        `UPDATE versions SET data_key = NULL WHERE credential_id = 'one'`,
	} {
		fresh := NewCredential("one")
		f.exec(`DELETE FROM credentials WHERE id = 'one'`)
		f.apply(s, fresh)
		credential, versions := f.credential(s, "one")
		f.wantValue(s, credential, versions[0], canary("one"))
		f.exec(attack)
		credential, versions = f.credential(s, "one")
		if values, err := s.Values(credential, versions[0]); !errors.Is(err, store.ErrDamaged) || values != nil {
			t.Errorf("decrypting a version with %s returned the error %v, want ErrDamaged", what, err)
		}
	}
	swapsRows(t, f, s)
}

// swapsRows plays an attacker who swaps the versions of two credentials in the database.
func swapsRows(t *testing.T, f *fixture, s *store.Store) {
	f.exec(`DELETE FROM credentials WHERE id = 'one'`)
	f.apply(s, NewCredential("one"))
	for _, step := range [][2]string{{"one", "one"}, {"two", "one"}} {
		number := map[string]string{"one": "7", "two": "1"}[step[0]]
		f.exec(`UPDATE versions SET credential_id = '` + step[1] + `', number = ` + number + ` WHERE credential_id = '` + step[0] + `'`)
	}
	f.exec(`UPDATE versions SET credential_id = 'two', number = 1 WHERE credential_id = 'one' AND number = 7`)
	for _, id := range []string{"one", "two"} {
		credential, versions := f.credential(s, id)
		if _, err := s.Values(credential, versions[0]); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("after the two versions were swapped, decrypting the values of %s returned the error %v, want ErrDamaged", id, err)
		}
	}
}
