package fleetkeys_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

func ring(t testing.TB, texts ...string) *fleetkeys.Ring {
	t.Helper()
	var keys []fleetkeys.Key
	for _, text := range texts {
		keys = append(keys, parse(t, text))
	}
	made, err := fleetkeys.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestNewRingRefuses(t *testing.T) {
	one, two := parse(t, numbered(1)), parse(t, numbered(2))
	for want, keys := range map[string][]fleetkeys.Key{
		"a ring needs at least one fleet key": {},
		"a fleet key is empty":                {one, {}},
		"duplicate fleet key":                 {one, two, parse(t, numbered(1))},
	} {
		if _, err := fleetkeys.NewRing(keys...); err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

// `made` returns the names and fingerprints that a ring makes from a text, and the ring's version
// keys in hexadecimal.
func made(r *fleetkeys.Ring, of string) (names, fingerprints, versions []string) {
	for _, key := range r.VersionKeys() {
		versions = append(versions, hex.EncodeToString(key))
	}
	return r.Names(of), r.Fingerprints(of), versions
}

// TestOrder checks that results are in the order of the fleet keys. During a rotation, replicas
// have the same fleet keys in different orders, and must still recognise the names that the others
// make.
func TestOrder(t *testing.T) {
	oldNames, oldFingerprints, oldVersions := made(ring(t, numbered(1)), "token")
	newNames, newFingerprints, newVersions := made(ring(t, numbered(2)), "token")
	for _, test := range []struct {
		ring                          *fleetkeys.Ring
		names, fingerprints, versions []string
	}{
		{ring(t, numbered(1), numbered(2)), slices.Concat(oldNames, newNames), slices.Concat(oldFingerprints, newFingerprints), slices.Concat(oldVersions, newVersions)},
		{ring(t, numbered(2), numbered(1)), slices.Concat(newNames, oldNames), slices.Concat(newFingerprints, oldFingerprints), slices.Concat(newVersions, oldVersions)},
	} {
		names, fingerprints, versions := made(test.ring, "token")
		if diff := cmp.Diff(test.names, names) + cmp.Diff(test.fingerprints, fingerprints) + cmp.Diff(test.versions, versions); diff != "" {
			t.Errorf("the names, fingerprints and version keys of a ring with two keys are wrong (-want +got):\n%s", diff)
		}
	}
	everything := slices.Concat(oldNames, newNames, oldFingerprints, newFingerprints, oldVersions, newVersions, ring(t, numbered(1)).Names("other"))
	slices.Sort(everything)
	if got := len(slices.Compact(everything)); got != 7 {
		t.Errorf("7 digests of different inputs have %d different values, want 7", got)
	}
}

// TestFormat compares the results for one key with constants. The results must never change,
// because different versions of the broker can share a fleet.
func TestFormat(t *testing.T) {
	one := ring(t, numbered(1))
	names, fingerprints, versions := made(one, "token")
	want := []string{
		"808719db16e64875016322d93a55095a",
		"566b6ea387ca07ee31a62aeb778f106a",
		"f565ea411b85138cf8b73631379cffe28fe6483a53f7f629065727486241c1e9",
	}
	if diff := cmp.Diff(want, slices.Concat(names, fingerprints, versions)); diff != "" {
		t.Errorf("the results of the key 01 02 … (-want +got):\n%s", diff)
	}
	sealed, err := hex.DecodeString("0185aa7f754bf0b097f5336084f2ee5e3b0473164e84c12e5f4bcf444fe8e329c8bb13abb3da")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := one.Open("context", sealed); err != nil || string(plain) != "plain" {
		t.Errorf("an entry of an earlier version decrypts to %q, %v", plain, err)
	}
}

func TestVersionKeysAreCopies(t *testing.T) {
	one := ring(t, numbered(1))
	_, _, before := made(one, "")
	clear(one.VersionKeys()[0])
	if _, _, after := made(one, ""); after[0] != before[0] {
		t.Error("erasing the result of VersionKeys changed the keys in the ring")
	}
}

func TestRingEqual(t *testing.T) {
	both := ring(t, numbered(1), numbered(2))
	for name, test := range map[string]struct {
		other *fleetkeys.Ring
		want  bool
	}{
		"the same keys": {ring(t, numbered(1), numbered(2)), true},
		"another order": {ring(t, numbered(2), numbered(1)), false},
		"fewer keys":    {ring(t, numbered(1)), false},
		"random keys":   {fleetkeys.RandomRing(), false},
		"none":          {nil, false},
	} {
		if both.Equal(test.other) != test.want || test.other.Equal(both) != test.want {
			t.Errorf("the equality with the ring %q is not %v", name, test.want)
		}
	}
	if none := (*fleetkeys.Ring)(nil); !none.Equal(nil) {
		t.Error("nil is not equal to nil")
	}
	if fleetkeys.RandomRing().Equal(fleetkeys.RandomRing()) {
		t.Error("two random rings are equal")
	}
}
