// Package leaktest finds secrets in the output of a program, even if they are encoded.
package leaktest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Odd is in the middle of every secret that the function Canary returns. Odd consists of characters
// that JSON, Go, HTML, URLs and shells escape, and that are allowed in HTTP headers and in HTTP
// Basic passwords.
const Odd = `+/="\%&<`

// Canary returns a random secret of 48 bytes, for a test that searches for it.
func Canary() string { return rand.Text()[:20] + Odd + rand.Text()[:20] }

// Finding describes a secret that was found in a text, without the secret itself.
type Finding struct {
	Where  string // name of the searched text, such as the name of a file
	Secret string // name of the secret
	Form   string // encoding of the secret, such as "base64"
	View   string // how the text was decoded before the search, such as "percent-decoded"; may be empty
	Offset int    // position of the secret in the decoded text, in bytes
}

func (f Finding) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s contains %s: %s at byte %d, %s", f.Where, f.Secret, f.Form, f.Offset, f.View), ", ")
}

const (
	// pieceSize is the length of the pieces of a secret that the search looks for: its first,
	// middle and last 24 bytes.
	pieceSize = 24
	// leastSize is the minimum length of a secret, in bytes. A shorter secret could appear in other
	// text by chance.
	leastSize = 12
	// gramSize is the number of bytes at the beginning of a needle that the search compares first.
	gramSize = 10
)

// needle is a piece of a secret in one encoding.
type needle struct{ secret, form, text string }

// Finder searches texts for secrets. The zero value has no secrets. A Finder is not safe for
// concurrent use.
type Finder struct {
	needles map[string][]needle // by the first gramSize bytes of the needles' texts, which are in lower case
	known   map[needle]bool
}

// Add adds a secret to the Finder. Add panics if the secret has fewer than 12 bytes.
func (f *Finder) Add(name, secret string) {
	if len(secret) < leastSize {
		panic(fmt.Sprintf("leaktest: the secret %q is too short to be distinguished from other text", name))
	}
	for _, piece := range pieces(secret) {
		f.addForms(name, piece)
	}
}

func pieces(secret string) []string {
	size := min(len(secret), pieceSize)
	middle := (len(secret) - size) / 2
	return []string{secret[:size], secret[middle : middle+size], secret[len(secret)-size:]}
}

func (f *Finder) addForms(name, piece string) {
	f.add(name, "raw", piece)
	f.add(name, "hexadecimal", hex.EncodeToString([]byte(piece)))
	f.add(name, "bytes as numbers", numbers(piece, " ")) // as Go prints them
	f.add(name, "bytes as numbers", numbers(piece, ",")) // as JSON has them
	// The base64 form of a piece depends on the number of bytes before it. The first and last
	// characters may also encode bits of the bytes before and after the piece, so these characters
	// are removed.
	for before := range 3 {
		shifted := append(make([]byte, before), piece...)
		first, last := (before*8+5)/6, len(shifted)*8/6
		f.add(name, "base64", base64.RawStdEncoding.EncodeToString(shifted)[first:last])
		f.add(name, "base64url", base64.RawURLEncoding.EncodeToString(shifted)[first:last])
	}
}

func numbers(text, separator string) string {
	var all []string
	for _, one := range []byte(text) {
		all = append(all, strconv.Itoa(int(one)))
	}
	return strings.Join(all, separator)
}

func (f *Finder) add(name, form, text string) {
	n := needle{name, form, strings.ToLower(text)}
	if f.known[n] {
		return
	}
	if f.known == nil {
		f.known, f.needles = map[needle]bool{}, map[string][]needle{}
	}
	f.known[n] = true
	f.needles[n.text[:gramSize]] = append(f.needles[n.text[:gramSize]], n)
}

// Search returns a Finding for each secret and encoding that the text contains, with the first
// place where the text contains it. Search ignores case.
func (f *Finder) Search(where string, text []byte) []Finding {
	var all []Finding
	seen := map[Finding]bool{}
	for _, v := range views(text) {
		folded := bytes.ToLower(v.text)
		for at := 0; at+gramSize <= len(folded); at++ {
			for _, n := range f.needles[string(folded[at:at+gramSize])] {
				one := Finding{Where: where, Secret: n.secret, Form: n.form}
				if !seen[one] && bytes.HasPrefix(folded[at:], []byte(n.text)) {
					seen[one] = true
					one.View, one.Offset = v.name, at
					all = append(all, one)
				}
			}
		}
	}
	return all
}
