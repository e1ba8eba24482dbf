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
			"one key":                 {one, ring(t, numbered(1)), nil},
			"another key":             {one, other, fleetkeys.ErrUnknownKey},
			"the former key is first": {one, both, nil},
			"the former key is last":  {one, turned, nil},
			"not yet known":           {turned, one, fleetkeys.ErrUnknownKey},
			"the first key seals":     {both, one, nil},
			"the new key seals":       {turned, other, nil},
			"neighbours":              {turned, both, nil},
			"neighbours, turned":      {both, turned, nil},
			"random keys":             {fleetkeys.RandomRing(), fleetkeys.RandomRing(), fleetkeys.ErrUnknownKey},
		} {
			sealed := test.seals.Seal("context", []byte(plain))
			opened, err := test.opens.Open("context", sealed)
			if !errors.Is(err, test.want) || test.want == nil && string(opened) != plain {
				t.Errorf("%s: %q opens as %q, %v; want the error %v", name, plain, opened, err, test.want)
			}
			if len(sealed) != len(plain)+33 {
				t.Errorf("%d bytes are sealed in %d", len(plain), len(sealed))
			}
		}
	}
}

func TestSealIsRandomAndHides(t *testing.T) {
	one := ring(t, numbered(1))
	first, second := one.Seal("context", []byte("the token")), one.Seal("context", []byte("the token"))
	if bytes.Equal(first, second) {
		t.Error("the same is sealed alike twice")
	}
	if bytes.Contains(first, []byte("the token")) {
		t.Error("the sealed entry shows what is in it")
	}
}

func TestOpenRefuses(t *testing.T) {
	one := ring(t, numbered(1), numbered(2))
	sealed := one.Seal("context", []byte("the token"))
	refuses := func(what, context string, sealed []byte, want error) {
		t.Helper()
		if plain, err := one.Open(context, sealed); !errors.Is(err, want) || plain != nil {
			t.Errorf("%s: %q, %v; want the error %v", what, plain, err, want)
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
	// The second key's entry under the ID of the first.
	foreign := ring(t, numbered(2)).Seal("context", []byte("the token"))
	refuses("under another ID", "context", append(bytes.Clone(sealed[:5]), foreign[5:]...), fleetkeys.ErrDamaged)
}

// FuzzOpen shows that no bytes panic, that what opens was sealed by nobody else, and that
// every text in every context survives.
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
			t.Errorf("%d bytes open as %d", len(data), len(plain))
		}
		if plain, err := both.Open(context, one.Seal(context, data)); err != nil || !bytes.Equal(plain, data) {
			t.Errorf("what was sealed opens as %d bytes, %v", len(plain), err)
		}
		if plain, err := both.Open(context+"x", one.Seal(context, data)); err == nil {
			t.Errorf("what was sealed for another context opens as %d bytes", len(plain))
		}
	})
}
