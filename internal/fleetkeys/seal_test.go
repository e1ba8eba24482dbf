package fleetkeys_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

func TestSealAndOpen(t *testing.T) {
	one, other := ring(t, numbered(1)), ring(t, numbered(2))
	both, turned := ring(t, numbered(1), numbered(2)), ring(t, numbered(2), numbered(1))
	for _, plain := range []string{"", "a", "the token"} {
		for name, test := range map[string]struct {
			seals, opens *fleetkeys.Ring
			want         error
		}{
			"one key":                            {one, ring(t, numbered(1)), nil},
			"another key":                        {one, other, fleetkeys.ErrUnknownKey},
			"the old key is first":               {one, both, nil},
			"the old key is last":                {one, turned, nil},
			"the new key is unknown":             {turned, one, fleetkeys.ErrUnknownKey},
			"the first key encrypts":             {both, one, nil},
			"the new key encrypts":               {turned, other, nil},
			"two rings of a rotation":            {turned, both, nil},
			"two rings of a rotation, exchanged": {both, turned, nil},
			"random keys":                        {fleetkeys.RandomRing(), fleetkeys.RandomRing(), fleetkeys.ErrUnknownKey},
		} {
			sealed := test.seals.Seal("context", []byte(plain))
			opened, err := test.opens.Open("context", sealed)
			if !errors.Is(err, test.want) || test.want == nil && string(opened) != plain {
				t.Errorf("with %s, the encrypted text %q decrypts to %q, %v; want the error %v", name, plain, opened, err, test.want)
			}
			if len(sealed) != len(plain)+33 {
				t.Errorf("%d bytes are encrypted to %d bytes, want 33 more", len(plain), len(sealed))
			}
		}
	}
}

func TestSealIsRandomAndHides(t *testing.T) {
	one := ring(t, numbered(1))
	first, second := one.Seal("context", []byte("the token")), one.Seal("context", []byte("the token"))
	if bytes.Equal(first, second) {
		t.Error("two encryptions of the same text are equal")
	}
	if bytes.Contains(first, []byte("the token")) {
		t.Error("the encrypted entry contains the plain text")
	}
}

func TestOpenRefuses(t *testing.T) {
	one := ring(t, numbered(1), numbered(2))
	sealed := one.Seal("context", []byte("the token"))
	refuses := func(what, context string, sealed []byte, want error) {
		t.Helper()
		if plain, err := one.Open(context, sealed); !errors.Is(err, want) || plain != nil {
			t.Errorf("an entry (%s) decrypts to %q, %v; want the error %v", what, plain, err, want)
		}
	}
	for _, context := range []string{"", "contex", "context2", "other"} {
		refuses("moved to "+context, context, sealed, fleetkeys.ErrDamaged)
	}
	for size := range sealed {
		refuses("cut short", "context", sealed[:size], fleetkeys.ErrDamaged)
	}
	refuses("made longer", "context", append(bytes.Clone(sealed), 0), fleetkeys.ErrDamaged)
	refuses("of another format", "context", []byte("2"+string(sealed[1:])), fleetkeys.ErrUnknownFormat)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		want := fleetkeys.ErrDamaged
		switch {
		case i == 0:
			want = fleetkeys.ErrUnknownFormat
		case i < 5:
			want = fleetkeys.ErrUnknownKey
		}
		refuses("a bit changed", "context", changed, want)
	}
	// The entry is encrypted with the second key, but its header contains the ID of the first key.
	foreign := ring(t, numbered(2)).Seal("context", []byte("the token"))
	refuses("under another ID", "context", append(bytes.Clone(sealed[:5]), foreign[5:]...), fleetkeys.ErrDamaged)
}

// FuzzOpen checks that no entry causes a panic, that Open decrypts only results of Seal, and that
// the decrypted text is the text that was encrypted.
func FuzzOpen(f *testing.F) {
	both, one := ring(f, numbered(1), numbered(2)), ring(f, numbered(2))
	f.Add("context", []byte("plain"))
	f.Add("", []byte{})
	f.Add("context", both.Seal("context", []byte("plain")))
	f.Add("context", one.Seal("context", []byte("plain"))[:20])
	f.Fuzz(func(t *testing.T, context string, data []byte) {
		known := []error{fleetkeys.ErrUnknownFormat, fleetkeys.ErrUnknownKey, fleetkeys.ErrDamaged}
		if plain, err := both.Open(context, data); err != nil && !errors.Is(errors.Join(known...), err) {
			t.Errorf("the error is %v", err)
		} else if err == nil && len(plain)+33 != len(data) {
			t.Errorf("an entry of %d bytes decrypts to %d bytes", len(data), len(plain))
		}
		if plain, err := both.Open(context, one.Seal(context, data)); err != nil || !bytes.Equal(plain, data) {
			t.Errorf("a correct encrypted entry decrypts to %d bytes, with the error %v", len(plain), err)
		}
		if plain, err := both.Open(context+"x", one.Seal(context, data)); err == nil {
			t.Errorf("an entry decrypts under the context of another entry to %d bytes", len(plain))
		}
	})
}
